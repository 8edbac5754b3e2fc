// What torch has for this keeps the graph of the call, emptied of its arrays, and does not notice
// what was changed before it is computed again. Here nothing stays of the graph but the edges that
// leave it; what the call used is known from torch's own observers of operators.
#include "checkpoint.h"

#include <ATen/SequenceNumber.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <unordered_set>
#include <utility>

namespace impl_torch_ext {

namespace {

namespace impl = torch::autograd::impl;

std::atomic<std::uint64_t> recordings{0};
thread_local std::uint64_t current = 0;

// Those of this thread that watch, and torch's handle of what tells them.
thread_local std::vector<Recording*> watching;
thread_local at::CallbackHandle observer;
// How many operators are at work inside each other; only the outermost is looked at.
thread_local int depth = 0;

template <typename See>
void for_tensors(at::ArrayRef<const c10::IValue> values, const See& see) {
    for (const c10::IValue& value : values) {
        if (value.isTensor()) {
            see(value.toTensor());
        } else if (value.isTensorList()) {
            for (const Tensor& x : value.toTensorVector()) see(x);
        } else if (value.isList()) {
            for (const c10::IValue& item : value.toListRef())
                if (item.isTensor()) see(item.toTensor());
        }
    }
}

std::unique_ptr<at::ObserverContext> before_operator(const at::RecordFunction& call) {
    if (depth++ == 0)
        for_tensors(call.inputs(), [](const Tensor& x) { watching.back()->see_taken(x); });
    return nullptr;
}

void after_operator(const at::RecordFunction& call, at::ObserverContext*) {
    if (--depth > 0) return;
    const std::vector<c10::IValue>& made = call.outputs();
    for_tensors(at::ArrayRef<const c10::IValue>(made.data(), made.size()),
                [](const Tensor& x) { watching.back()->see_made(x); });
}

// A Tensor that has this edge and no values.
Tensor handle_of(const Edge& edge) {
    const auto dtype = edge.function->input_metadata(edge.input_nr).dtype();
    Tensor handle = at::empty({0}, at::TensorOptions(dtype));
    impl::set_gradient_edge(handle, edge);
    return handle;
}

// Hands gradients on as they come.
struct Passage : Node {
    explicit Passage(const Edge& edge) {
        add_next_edge(edge);
        const auto& metadata = edge.function->input_metadata(edge.input_nr);
        add_input_metadata(metadata.options(), metadata.shape_as_dim_vector(), false, false,
                           metadata.grad_dtype());
    }
    std::string name() const override { return "Passage"; }
    variable_list apply(variable_list&& grads) override { return std::move(grads); }
};

struct EdgeHash {
    std::size_t operator()(const Edge& edge) const { return std::hash<Edge>{}(edge); }
};

}  // namespace

std::uint64_t current_recording() { return current; }

void Recording::start(bool watch) {
    outer_ = current;
    current = ++recordings;
    thread_ = at::RecordFunction::currentThreadId();
    first_ = at::sequence_number::peek();
    watch_ = watch;
    if (!watch) return;
    if (watching.empty()) {
        depth = 0;
        observer =
            at::addThreadLocalCallback(at::RecordFunctionCallback(before_operator, after_operator)
                                           .needsInputs(true)
                                           .needsOutputs(true)
                                           .scopes({at::RecordScope::FUNCTION}));
    }
    watching.push_back(this);
}

void Recording::stop() {
    last_ = at::sequence_number::peek();
    current = outer_;
    if (!watch_) return;
    watching.pop_back();
    if (watching.empty()) {
        at::removeCallback(observer);
    } else {
        watching.back()->take(*this);
    }
    storages_.clear();
    // What was made from no Tensor and is gone cannot change.
    std::erase_if(seen_, [](const auto& item) {
        return item.second.tensor.expired() && item.second.counter.unique();
    });
    for (auto& [address, seen] : seen_) seen.version = seen.present();
}

void Recording::take(Recording& inner) {
    storages_.merge(inner.storages_);
    for (const auto& [address, seen] : inner.seen_) {
        const Tensor x(seen.tensor.lock());
        if (x.defined()) {
            see_taken(x);
        } else {
            seen_.try_emplace(address, seen);
        }
    }
}

// Whether the memory of x was made in the run; what is met for the first time is noted.
bool Recording::already_made(const Tensor& x, bool now) {
    const c10::Storage& storage = x.storage();
    const auto [place, fresh] =
        storages_.try_emplace(storage.unsafeGetStorageImpl(), storage.getWeakStorageImpl(), now);
    return place->second.second;
}

void Recording::see_made(const Tensor& x) {
    if (x.defined() && x.has_storage()) already_made(x, true);
}

void Recording::see_taken(const Tensor& x) {
    if (!x.defined() || !x.has_storage() || already_made(x, false)) return;
    const c10::VariableVersion& counter = impl::version_counter(x);
    if (!counter.enabled()) return;
    const auto& tensor = x.getIntrusivePtr();
    seen_.try_emplace(tensor.get(),
                      Seen{decltype(Seen::tensor)(tensor), counter, 0, x.sizes().vec()});
}

// The greater of what the Tensor counts, whose counter may be another by now, and what those count
// that share the counter that it had.
std::int64_t Recording::Seen::present() const {
    const Tensor x(tensor.lock());
    const std::int64_t shared = counter.current_version();
    return x.defined() ? std::max<std::int64_t>(shared, x._version()) : shared;
}

std::optional<std::vector<std::int64_t>> Recording::changed() const {
    for (const auto& [address, seen] : seen_)
        if (seen.present() != seen.version) return seen.shape;
    return std::nullopt;
}

bool Recording::is_own(const Node& node) const {
    return node.thread_id() == thread_ && first_ <= node.sequence_nr() &&
           node.sequence_nr() < last_;
}

bool Recording::made(const Tensor& output) const {
    const auto& node = output.grad_fn();
    return node && is_own(*node);
}

template <typename Visit>
void Recording::for_leaving(const std::vector<Tensor>& outputs, const Visit& visit) const {
    std::unordered_set<const Node*> met;
    std::vector<Node*> waiting;
    const auto meet = [&](Node* node) {
        if (met.insert(node).second) waiting.push_back(node);
    };
    for (const Tensor& y : outputs)
        if (made(y)) meet(y.grad_fn().get());
    while (!waiting.empty()) {
        Node* const node = waiting.back();
        waiting.pop_back();
        for (Edge& edge : node->next_edges()) {
            if (!edge.is_valid()) continue;
            if (is_own(*edge.function)) {
                meet(edge.function.get());
            } else {
                visit(edge);
            }
        }
    }
}

std::vector<Tensor> Recording::leaving(const std::vector<Tensor>& outputs) const {
    std::unordered_set<Edge, EdgeHash> met;
    std::vector<Tensor> handles;
    for_leaving(outputs, [&](const Edge& edge) {
        if (met.insert(edge).second) handles.push_back(handle_of(edge));
    });
    return handles;
}

std::vector<std::optional<Tensor>> Recording::cut(const std::vector<Tensor>& outputs,
                                                  const std::vector<Tensor>& handles) const {
    std::unordered_map<Edge, std::size_t, EdgeHash> places;
    for (std::size_t i = 0; i < handles.size(); ++i)
        places.emplace(impl::gradient_edge(handles[i]), i);
    std::vector<std::optional<Tensor>> ends(handles.size());
    std::vector<Edge> passages(handles.size());
    for_leaving(outputs, [&](Edge& edge) {
        const auto found = places.find(edge);
        if (found == places.end()) return;
        Edge& passage = passages[found->second];
        if (!passage.is_valid()) {
            passage = Edge(make_node<Passage>(edge), 0);
            ends[found->second] = handle_of(passage);
        }
        // Past set_next_edge, which refuses a node that others lead to: where a node stands among
        // others does not matter to a pass that ends here.
        edge = passage;
    });
    return ends;
}

TORCH_LIBRARY_FRAGMENT(impl_torch_ext, m) {
    m.class_<Recording>("Recording")
        .def(torch::init<>())
        .def("start", &Recording::start)
        .def("stop", &Recording::stop)
        .def("leaving", &Recording::leaving)
        .def("cut", &Recording::cut)
        .def("made", &Recording::made)
        .def("changed", &Recording::changed);
}

}  // namespace impl_torch_ext
