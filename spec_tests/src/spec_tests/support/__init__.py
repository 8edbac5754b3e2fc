"""What tests call: assertions, inputs, and the things that more than one test file asks about."""
