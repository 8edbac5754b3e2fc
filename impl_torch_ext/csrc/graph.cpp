#include "graph.h"

#include <ATen/SequenceNumber.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isnan.h>
#include <ATen/record_function.h>
#include <c10/util/Type.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/library.h>

#include <algorithm>
#include <memory>
#include <sstream>
#include <typeinfo>
#include <unordered_map>

namespace impl_torch_ext {

namespace {

using torch::autograd::AccumulateGrad;

thread_local bool checking = false;

// Walks through a graph breadth first, and numbers the nodes as it meets them.
class Walk {
  public:
    explicit Walk(std::uint64_t since)
        : since_(since), thread_(at::RecordFunction::currentThreadId()) {}

    std::int64_t meet(const NodePtr& node) {
        const auto [place, fresh] =
            numbers_.try_emplace(node.get(), static_cast<std::int64_t>(nodes_.size()));
        if (fresh) nodes_.push_back(node.get());
        return place->second;
    }

    bool wanted(const Node& node) const {
        return since_ == 0 || (node.thread_id() == thread_ && node.sequence_nr() >= since_ &&
                               dynamic_cast<const AccumulateGrad*>(&node) == nullptr);
    }

    // The next node in turn, nullptr after the last.
    Node* next() { return at_ < nodes_.size() ? nodes_[at_++] : nullptr; }

  private:
    const std::uint64_t since_, thread_;
    std::unordered_map<const Node*, std::int64_t> numbers_;
    std::vector<Node*> nodes_;
    std::size_t at_ = 0;
};

// By its name: torch does not export what a cast would need.
bool is_python(const Node& node) {
    return c10::demangle(typeid(node).name()) == "torch::autograd::PyNode";
}

bool all_finite(const Tensor& x) {
    if (!x.defined() || !(x.is_floating_point() || x.is_complex())) return true;
    return at::isfinite(x).all().item<bool>();
}

bool has_nan(const Tensor& x) { return at::isnan(x).any().item<bool>(); }

class Look : public torch::autograd::FunctionPostHook {
  public:
    Look(c10::intrusive_ptr<Watch> watch, const Node& node)
        : watch_(std::move(watch)), node_(node) {}

    variable_list operator()(const variable_list& made, const variable_list& got) override {
        if (checking) watch_->see(node_, made, got);
        return made;
    }

  private:
    const c10::intrusive_ptr<Watch> watch_;
    // It holds this hook.
    const Node& node_;
};

}  // namespace

Nodes nodes_of(at::TensorList outputs, std::int64_t since) {
    Nodes found;
    auto& [names, sequence, kinds, edges, leaves] = found;
    Walk walk(static_cast<std::uint64_t>(since));
    // Nobody else may hold the node of a leaf.
    std::vector<NodePtr> ends;
    for (const Tensor& y : outputs) {
        if (!y.requires_grad()) continue;
        ends.push_back(torch::autograd::impl::gradient_edge(y).function);
        if (walk.wanted(*ends.back())) walk.meet(ends.back());
    }
    std::int64_t number = 0;
    for (Node* node = walk.next(); node != nullptr; node = walk.next(), ++number) {
        NodeKind kind = NodeKind::operation;
        if (auto* leaf = dynamic_cast<AccumulateGrad*>(node)) {
            kind = NodeKind::leaf;
            leaves.push_back(leaf->variable);
        } else if (is_python(*node)) {
            kind = NodeKind::function;
        }
        names.push_back(node->name());
        sequence.push_back(static_cast<std::int64_t>(node->sequence_nr()));
        kinds.push_back(static_cast<std::int64_t>(kind));
        for (const Edge& edge : node->next_edges()) {
            if (!edge.is_valid() || !walk.wanted(*edge.function)) continue;
            edges.push_back(walk.meet(edge.function));
            edges.push_back(number);
        }
    }
    return found;
}

void check_gradients(bool check) { checking = check; }

bool Watch::is_own(const Node& node) const {
    return node.thread_id() == thread_ &&
           std::any_of(numbers_.begin(), numbers_.end(), [&](const auto& range) {
               return range.first <= node.sequence_nr() && node.sequence_nr() < range.second;
           });
}

void Watch::add(const std::vector<Tensor>& outputs, std::int64_t since) {
    const auto first = static_cast<std::uint64_t>(since);
    const std::uint64_t last = at::sequence_number::peek();
    thread_ = at::RecordFunction::currentThreadId();
    if (!numbers_.empty() && numbers_.back().second == first) {
        numbers_.back().second = last;
    } else {
        numbers_.emplace_back(first, last);
    }
    Walk walk(first);
    for (const Tensor& y : outputs)
        if (y.grad_fn() && walk.wanted(*y.grad_fn())) walk.meet(y.grad_fn());
    for (Node* node = walk.next(); node != nullptr; node = walk.next()) {
        const auto self = c10::intrusive_ptr<Watch>::reclaim_copy(this);
        node->add_post_hook(std::make_unique<Look>(self, *node));
        for (const Edge& edge : node->next_edges())
            if (edge.is_valid() && walk.wanted(*edge.function)) walk.meet(edge.function);
    }
}

void Watch::see(const Node& node, const variable_list& made, const variable_list& got) {
    const at::NoGradGuard unrecorded;
    const std::scoped_lock lock(mutex_);
    const int pass = torch::autograd::get_current_graph_task_id();
    if (pass != pass_) {
        pass_ = pass;
        tainted_.clear();
        from_outside_ = false;
    }
    if (spoiled_ || from_outside_) return;
    if (tainted_.count(&node) == 0 && !std::all_of(got.begin(), got.end(), all_finite)) {
        from_outside_ = true;
        return;
    }
    for (std::size_t i = 0; i < made.size() && i < node.num_outputs(); ++i) {
        const Edge& edge = node.next_edge(i);
        if (!edge.is_valid() || all_finite(made[i])) continue;
        if (is_own(*edge.function)) {
            tainted_.insert(edge.function.get());
            continue;
        }
        std::ostringstream shape;
        shape << made[i].sizes();
        TORCH_CHECK(false, name_, ": backward gave ", has_nan(made[i]) ? "a NaN" : "an infinity",
                    " from finite numbers, in the gradient of an input of shape ", shape.str(),
                    ", to the call at ", place_);
    }
}

}  // namespace impl_torch_ext

TORCH_LIBRARY_FRAGMENT(impl_torch_ext, m) {
    using impl_torch_ext::Watch;
    m.def("nodes_of(Tensor[] outputs, int since) -> (str[], int[], int[], int[], Tensor[])",
          impl_torch_ext::nodes_of);
    m.def("check_gradients(bool check) -> ()", impl_torch_ext::check_gradients);
    m.class_<Watch>("Watch")
        .def(torch::init<std::string, std::string>())
        .def("add", &Watch::add)
        .def("spoil", &Watch::spoil);
}
