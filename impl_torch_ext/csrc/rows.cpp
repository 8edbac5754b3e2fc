// x[t] or x[t : t + n] for one t after another. The gradient of torch's own is an array of the size
// of x for every t, so that a loop over a sequence costs the square of its length; here the rows
// share a node which makes one such array of all their gradients.
#include "rows.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/narrow.h>
#include <ATen/ops/select.h>
#include <ATen/ops/slice_backward.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <compare>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "checkpoint.h"
#include "gather.h"
#include "node.h"

namespace impl_torch_ext {

namespace {

template <typename T>
std::weak_ptr<T> weak(const std::shared_ptr<T>& pointer) {
    return pointer;
}

template <typename T>
c10::weak_intrusive_ptr<T> weak(const c10::intrusive_ptr<T>& pointer) {
    return c10::weak_intrusive_ptr<T>(pointer);
}

// The node that takes the next row of an array. A node keeps its array alive, so that an address
// stands for one array as long as its node is there.
struct Open {
    decltype(weak(std::declval<NodePtr>())) node;
    const Node* address;
};

// An array, how many rows at once, none where the axis goes, and the recording that they belong to:
// the graph of a checkpoint shares no node with what lies around it.
struct Key {
    const void* array;
    std::optional<std::int64_t> rows;
    std::uint64_t recording;

    auto operator<=>(const Key&) const = default;
};

struct OpenNodes {
    std::mutex mutex;
    std::map<Key, Open> by_key;
};

// Never destroyed: nodes may go after the library's own objects do.
OpenNodes& open_nodes() {
    static auto* nodes = new OpenNodes;
    return *nodes;
}

// One slot for each of `capacity` rows, all there from the start: another thread may run backward
// through the node while rows are still being taken.
struct RowsBackward : Node {
    RowsBackward(const Tensor& x, const Tensor& row, const Key& key, std::size_t capacity)
        : key(key), shape(x.sizes().vec()), options(x.options()), capacity(capacity) {
        set_next_edges(torch::autograd::collect_next_edges(x));
        for (std::size_t slot = 0; slot < capacity; ++slot) add_input_metadata(row);
    }

    ~RowsBackward() override { forget(); }

    // Where torch has its own pointers, this is called when the last one goes; the destructor waits
    // for the weak ones too.
    void release_resources() { forget(); }

    std::string name() const override { return "RowsBackward"; }

    // Whether it may take one more row of `x`, whose history or shape may be another one by now.
    bool takes(const Tensor& x) const {
        return places.size() < capacity &&
               next_edge(0) == torch::autograd::impl::gradient_edge(x) && x.sizes() == shape &&
               x.dtype() == options.dtype();
    }

    variable_list apply(variable_list&& grads) override {
        std::vector<Tensor> rows;
        std::vector<std::int64_t> indices;
        {
            const std::lock_guard<std::mutex> lock(open_nodes().mutex);
            for (std::size_t slot = 0; slot < places.size(); ++slot) {
                if (!grads[slot].defined()) continue;
                rows.push_back(key.rows ? grads[slot] : grads[slot].unsqueeze(0));
                for (std::int64_t i = 0; i < key.rows.value_or(1); ++i)
                    indices.push_back(places[slot] + i);
            }
        }
        if (rows.empty()) return {at::zeros(shape, options)};
        if (rows.size() == 1) {
            const std::int64_t end = indices.back() + 1, size = shape[0];
            return {at::slice_backward(rows[0], shape, 0, indices[0], std::min(end, size), 1)};
        }
        const Tensor index =
            at::from_blob(indices.data(), {static_cast<std::int64_t>(indices.size())}, at::kLong);
        return {gather_backward_recorded(at::cat(rows), index.clone(), 0, shape[0])};
    }

    void forget() {
        OpenNodes& nodes = open_nodes();
        const std::lock_guard<std::mutex> lock(nodes.mutex);
        const auto found = nodes.by_key.find(key);
        if (found != nodes.by_key.end() && found->second.address == this) nodes.by_key.erase(found);
    }

    const Key key;
    const std::vector<std::int64_t> shape;
    const at::TensorOptions options;
    const std::size_t capacity;
    std::vector<std::int64_t> places;  // Under the mutex of open_nodes().
};

// Returns the slot for one more row of `x`. A full node is followed by one of twice the size.
Edge slot_for(const Tensor& x, const Key& key, std::int64_t place, const Tensor& row) {
    OpenNodes& nodes = open_nodes();
    NodePtr before;
    std::size_t capacity = 1;
    {
        const std::lock_guard<std::mutex> lock(nodes.mutex);
        const auto found = nodes.by_key.find(key);
        if (found != nodes.by_key.end()) before = found->second.node.lock();
        if (before) {
            auto& node = static_cast<RowsBackward&>(*before);
            if (node.takes(x)) {
                node.places.push_back(place);
                return Edge(before, static_cast<std::uint32_t>(node.places.size() - 1));
            }
            capacity = std::min<std::size_t>(2 * node.capacity, 1 << 16);
        }
    }
    NodePtr next = make_node<RowsBackward>(x, row, key, capacity);
    static_cast<RowsBackward&>(*next).places.push_back(place);
    const std::lock_guard<std::mutex> lock(nodes.mutex);
    nodes.by_key.insert_or_assign(key, Open{weak(next), next.get()});
    return Edge(next, 0);
}

}  // namespace

Tensor rows(const Tensor& x, std::int64_t start, std::optional<std::int64_t> count) {
    return count ? at::narrow(x, 0, start, *count) : at::select(x, 0, start);
}

Tensor rows_recorded(const Tensor& x, std::int64_t start, std::optional<std::int64_t> count) {
    if (have_tangents(x) || is_wrapped(x)) return rows(x, start, count);
    // Below the Autograd key alone, so that torch knows the rows for a view of x.
    Tensor result = [&] {
        const at::AutoDispatchBelowAutograd guard;
        return rows(x, start, count);
    }();
    if (c10::GradMode::is_enabled() && x.requires_grad()) {
        const std::int64_t place = start < 0 ? start + x.size(0) : start;
        const Key key{x.unsafeGetTensorImpl(), count, current_recording()};
        torch::autograd::impl::set_gradient_edge(result, slot_for(x, key, place, result));
    }
    return result;
}

void share_version(const Tensor& self, const Tensor& other) {
    namespace impl = torch::autograd::impl;
    const std::int64_t mine = impl::version_counter(self).current_version();
    c10::VariableVersion theirs = impl::version_counter(other);
    // What was kept under the counter before must not fit the new one.
    if (theirs.current_version() <= mine) theirs.set_version(mine + 1);
    impl::set_version_counter(self, theirs);
}

}  // namespace impl_torch_ext
