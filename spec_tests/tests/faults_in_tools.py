"""Deliberate faults in what looks into a graph, and in gradients of complex values."""

import importlib

import numpy as np
from faults import fault


def module_of(name):
    """Return a module of impl_numpy, where the package has a function of the same name."""
    return importlib.import_module(f"impl_numpy.{name}")


def careful_with(change):
    """Have `change` called with each careful pass when it is made, and whether it is exact."""
    careful = module_of("engine").Careful
    original = careful.__init__

    def __init__(self, roots, retain, record, targets, inner, exact, fill):
        original(self, roots, retain, record, targets, inner, exact, fill)
        change(self)

    careful.__init__ = __init__


@fault("test_autograd_inputs", "autograd-40")
def every_leaf_on_the_way_is_filled(nn):
    module_of("engine").Careful.wants = lambda self, node: True


@fault("test_autograd_inputs", "autograd-40")
def a_tensor_that_is_named_twice_gets_its_gradient_twice(nn):
    careful = module_of("engine").Careful
    original = careful.__init__

    def __init__(self, roots, retain, record, targets, inner, exact, fill):
        original(self, roots, retain, record, targets, inner, exact, fill)
        for node in set(targets or ()):
            self.receivers[node] = self.receivers.get(node, []) * targets.count(node)

    careful.__init__ = __init__


@fault("test_autograd_inputs", "autograd-41")
def an_unused_input_has_zeros(nn):
    transforms = module_of("autograd.transforms")
    transforms.leading = lambda _roots, targets, _oldest: (set(), set(targets))


@fault("test_autograd_inputs", "autograd-41")
def a_pass_ends_at_an_input_that_leads_to_another(nn):
    def cut(self):
        if self.wanted is not None:
            self.through -= self.wanted

    careful_with(cut)


@fault("test_autograd_inputs", "autograd-41")
def outputs_are_not_weighted(nn):
    transforms = module_of("autograd.transforms")
    original = transforms._weights
    transforms._weights = lambda given, count: [
        None if count > 1 else weight for weight in original(given, count)
    ]


@fault("test_autograd_anomaly test_autograd_graph", "autograd-42")
def an_infinity_is_no_anomaly(nn):
    anomaly = module_of("autograd.anomaly")
    original = anomaly._found
    anomaly._found = lambda x: "NaN" if original(x) == "NaN" else ""


@fault("test_autograd_anomaly", "autograd-42")
def what_was_no_number_before_is_an_anomaly(nn):
    anomaly = module_of("autograd.anomaly")
    original = anomaly._check
    anomaly._check = lambda name, _given, results, node: original(name, (), results, node)


@fault("test_autograd_anomaly", "autograd-42")
def the_place_of_an_anomaly_is_inside(nn):
    module_of("autograd.anomaly")._INSIDE = ("<nowhere>",)


@fault("test_autograd_anomaly", "autograd-42")
def anomalies_of_backward_are_not_looked_for(nn):
    module_of("autograd.anomaly")._pulled = lambda node, grad, record: (
        node.pull_recorded(grad) if record else node.pull(grad)
    )


@fault("test_autograd_graph", "autograd-43")
def quotes_in_names_are_not_escaped(nn):
    module_of("autograd.graph")._escaped = lambda text: text


@fault("test_autograd_graph", "autograd-43")
def a_graph_is_written_by_recursion(nn):
    graph = module_of("autograd.graph")

    def ordered(end):
        order = {}

        def enter(node):
            if node not in order:
                for parent in graph._parents(node):
                    enter(parent)
                order[node] = None

        enter(end)
        return list(order)

    graph._ordered = ordered


@fault("test_autograd_graph", "autograd-43")
def a_leaf_of_a_module_has_no_name(nn):
    graph = module_of("autograd.graph")
    original = graph._named
    graph._named = lambda params: original(params if isinstance(params, dict) else None)


@fault("test_autograd_saved", "autograd-44")
def what_pack_computes_is_packed_and_recorded(nn):
    module_of("autograd.saved")._aside = lambda function, argument: function(argument)


@fault("test_autograd_saved", "autograd-44")
def what_was_unpacked_is_kept(nn):
    saved = module_of("autograd.saved")
    original = saved.Packed.array

    def array(self):
        if not isinstance(self.held, np.ndarray):
            self.held = original(self)
        return self.held

    saved.Packed.array = array


@fault("test_autograd_saved", "autograd-44")
def another_shape_is_unpacked(nn):
    saved = module_of("autograd.saved")

    def array(self):
        made = saved._aside(self._unpack, self.held)
        return saved.readonly(made._data if isinstance(made, nn.Tensor) else np.asarray(made))

    saved.Packed.array = array


@fault("test_autograd_saved", "autograd-44")
def the_pair_outside_a_block_is_forgotten(nn):
    saved = module_of("autograd.saved")
    original = saved.saved_tensors_hooks.__exit__

    def __exit__(self, *error):
        original(self, *error)
        saved.MODE.pack = None

    saved.saved_tensors_hooks.__exit__ = __exit__


@fault("test_autograd_accumulated", "autograd-45")
def a_leaf_with_hooks_gets_its_gradient_at_the_end(nn):
    careful_with(lambda self: self.users.clear())


@fault("test_autograd_accumulated", "autograd-45")
def a_hook_writes_into_what_has_still_to_run(nn):
    module_of("engine").Careful.secure = lambda self, memory: None


@fault("test_autograd_accumulated", "autograd-45")
def a_hook_of_a_leaf_runs_only_the_first_time(nn):
    after = module_of("tape").After
    original = after.__call__

    def called(self):
        original(self)
        self.hooks.clear()

    after.__call__ = called


@fault("test_autograd_accumulated test_autograd_graph", "autograd-46")
def what_was_saved_is_let_go_at_the_end(nn):
    tape, engine = module_of("tape"), module_of("engine")
    original, go, waiting = tape.Node.free, engine.Pass.go, []
    tape.Node.free = waiting.append

    def gone(self, roots):
        go(self, roots)
        while waiting:
            original(waiting.pop())

    engine.Pass.go = gone


@fault("test_autograd_complex", "autograd-47")
def hooks_see_the_gradient_of_the_tape(nn):
    module_of("engine").conjugated = lambda grad: grad


@fault("test_autograd_complex", "autograd-47")
def the_gradient_that_is_given_is_not_conjugated(nn):
    module_of("tensor").conjugated = lambda grad: grad


@fault("test_autograd_complex test_ops_complex_gradients", "autograd-47")
def a_real_operand_gets_the_imaginary_part(nn):
    recording = module_of("recording")
    original = recording.shrink.forward

    def forward(x, shape, dtype, *config):
        if x.dtype.kind == "c" and np.dtype(dtype).kind != "c":
            x = x.imag
        return original(x, shape, dtype, *config)

    recording.shrink.forward = forward


@fault("test_autograd_complex", "autograd-48")
def a_complex_number_starts_a_backward_by_itself(nn):
    tensor = module_of("tensor")
    original = tensor.check_seed

    def check_seed(operation, got, shape, dtype, of=None):
        if got is not None or dtype.kind != "c":
            original(operation, got, shape, dtype, of)

    tensor.check_seed = check_seed


@fault("test_autograd_complex test_ops_complex_gradients", "autograd-48")
def complex_results_have_no_history(nn):
    tensor = module_of("tensor").Tensor
    original = tensor._wrap
    tensor._wrap = staticmethod(
        lambda data, node: original(data, None if data.dtype.kind == "c" else node)
    )


@fault("test_autograd_complex", "autograd-49")
def transformations_give_the_gradient_of_the_tape(nn):
    module_of("autograd.transforms").conjugated = lambda grad: grad


@fault("test_autograd_complex", "autograd-49")
def a_jacobian_of_complex_numbers_is_made(nn):
    module_of("autograd.derivatives").check_real = lambda *_: None


@fault("test_function_complex", "function-31")
def a_function_gets_the_gradient_of_the_tape(nn):
    module_of("function_node")._incoming = lambda grad: np.asarray(grad)


@fault("test_function_complex", "function-31")
def what_a_function_returns_is_not_conjugated(nn):
    module_of("function_node").turned = lambda grads: list(grads)


@fault("test_function_complex", "function-31")
def a_function_on_tensors_gets_the_gradient_of_the_tape(nn):
    function_node = module_of("function_node")
    function_node._tensor_incoming = function_node._tensor


@fault("test_module_explain", "module-29")
def an_explanation_leaves_arguments_by_keyword_out(nn):
    calls = module_of("explain")._Calls
    original = calls.begin
    calls.begin = lambda self, module, args, _kwargs: original(self, module, args, {})


@fault("test_module_explain", "module-29")
def calls_are_explained_in_the_order_of_their_ends(nn):
    calls = module_of("explain")._Calls
    original = calls.end

    def end(self, module, args, kwargs, output):
        call = self.open[-1]
        original(self, module, args, kwargs, output)
        self.begun.remove(call)
        self.begun.append(call)

    calls.end = end


@fault("test_module_explain", "module-31")
def an_explanation_leaves_what_buffers_became(nn):
    module_of("explain")._Entry.restore = lambda self: None
