// What the graph of torch says of itself, and a check of the gradients that go through it. Both
// look at its nodes without a Python object for each: torch keeps such an object with the node, and
// a long chain of those cannot be freed without a recursion as deep as it is long.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/custom_class.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include "node.h"

namespace impl_torch_ext {

// What a node is to those who show it.
enum class NodeKind : std::int64_t { operation = 0, function = 1, leaf = 2 };

// The nodes that Tensors depend on: of each its name, its number, in the order in which this thread
// made them, and its kind; pairs of nodes for the edges, from input to output; and the leaves, in
// the order of their nodes. Those that were made before the number `since`, or by another thread,
// are left out, unless it is 0.
using Nodes = std::tuple<std::vector<std::string>, std::vector<std::int64_t>,
                         std::vector<std::int64_t>, std::vector<std::int64_t>, std::vector<Tensor>>;
Nodes nodes_of(at::TensorList outputs, std::int64_t since);

// Looks, in this thread, at what the nodes of every Watch do from now on, or no longer.
void check_gradients(bool check);

// The nodes of one operation of the program's, and the check that it does not make a gradient that
// is not finite of gradients and numbers that are.
class Watch : public torch::CustomClassHolder {
  public:
    Watch(std::string name, std::string place) : name_(std::move(name)), place_(std::move(place)) {}

    // Adds the nodes that this thread has made since the number `since` on the way to `outputs`.
    void add(const std::vector<Tensor>& outputs, std::int64_t since);

    // From now on nothing is found, as the operation got a number that is not finite.
    void spoil() { spoiled_ = true; }

    // Looks at what a node has made of gradients, and raises what it finds.
    void see(const Node& node, const variable_list& made, const variable_list& got);

  private:
    bool is_own(const Node& node) const;

    const std::string name_, place_;
    std::uint64_t thread_ = 0;
    // From the first number to below the second.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> numbers_;
    bool spoiled_ = false;

    std::mutex mutex_;
    // Of the backward pass `pass_`: the nodes that get from own ones what is not finite, and
    // whether something came from elsewhere that is not.
    int pass_ = -1;
    std::unordered_set<const Node*> tainted_;
    bool from_outside_ = false;
};

}  // namespace impl_torch_ext
