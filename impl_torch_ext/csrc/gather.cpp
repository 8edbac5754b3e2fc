#include "gather.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <vector>

#include "node.h"

namespace impl_torch_ext {

namespace {

// Up to so many slices the error of adding one after another stays below that of pairs.
constexpr std::int64_t FEW = 16;

// So many additions are worth a thread.
constexpr std::int64_t GRAIN = 1 << 15;

// The places of the slices that go to one destination after those of the one before it.
struct Order {
    std::vector<std::int64_t> starts;  // One more than there are destinations.
    std::vector<std::int64_t> places;
};

Order order_of(const std::int64_t* index, std::int64_t count, std::int64_t size) {
    Order order{std::vector<std::int64_t>(size + 1), std::vector<std::int64_t>(count)};
    std::vector<std::int64_t> next(size + 1);
    for (std::int64_t k = 0; k < count; ++k) {
        TORCH_CHECK_INDEX(-size <= index[k] && index[k] < size,
                          "gather_backward: indices must be in [", -size, ", ", size, "), got ",
                          index[k]);
        ++next[index[k] < 0 ? index[k] + size : index[k]];
    }
    std::int64_t total = 0;
    for (std::int64_t i = 0; i <= size; ++i) {
        order.starts[i] = total;
        total += next[i];
        next[i] = order.starts[i];
    }
    for (std::int64_t k = 0; k < count; ++k)
        order.places[next[index[k] < 0 ? index[k] + size : index[k]]++] = k;
    return order;
}

// Adds `count` slices of `grad` up by pairs; `room` has as many slices as halving takes steps.
template <typename T>
void add_slices(const T* grad, const std::int64_t* places, std::int64_t count, std::int64_t inner,
                T* result, T* room) {
    if (count > FEW) {
        const std::int64_t half = count / 2;
        add_slices(grad, places, half, inner, result, room);
        add_slices(grad, places + half, count - half, inner, room, room + inner);
        for (std::int64_t i = 0; i < inner; ++i) result[i] += room[i];
        return;
    }
    std::copy_n(grad + places[0] * inner, inner, result);
    for (std::int64_t k = 1; k < count; ++k) {
        const T* slice = grad + places[k] * inner;
        for (std::int64_t i = 0; i < inner; ++i) result[i] += slice[i];
    }
}

// grad (outer, count, inner) to result (outer, size, inner). Each slice of the result is one
// thread's, so that its value does not depend on their number.
template <typename T>
void add_by_place(const T* grad, const Order& order, std::int64_t outer, std::int64_t size,
                  std::int64_t inner, T* result) {
    const auto count = static_cast<std::int64_t>(order.places.size());
    const std::int64_t each = std::max<std::int64_t>(1, count / std::max<std::int64_t>(1, size));
    const std::int64_t grain = std::max<std::int64_t>(1, GRAIN / (each * inner));
    at::parallel_for(0, outer * size, grain, [&](std::int64_t begin, std::int64_t end) {
        std::vector<T> room(inner * std::bit_width(static_cast<std::uint64_t>(count)));
        for (std::int64_t slice = begin; slice < end; ++slice) {
            const std::int64_t start = order.starts[slice % size];
            const std::int64_t some = order.starts[slice % size + 1] - start;
            T* sum = result + slice * inner;
            if (some == 0)
                std::fill_n(sum, inner, T(0));
            else
                add_slices(grad + slice / size * count * inner, order.places.data() + start, some,
                           inner, sum, room.data());
        }
    });
}

Tensor call_backward(const Tensor& grad, const Tensor& index, std::int64_t axis,
                     std::int64_t size) {
    static const auto op =
        c10::Dispatcher::singleton()
            .findSchemaOrThrow("impl_torch_ext::gather_backward", "")
            .typed<Tensor(const Tensor&, const Tensor&, std::int64_t, std::int64_t)>();
    return op.call(grad, index, axis, size);
}

struct GatherBackward : Node {
    std::string name() const override { return "GatherBackward"; }
    void release_variables() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        index.reset_data();
    }
    variable_list apply(variable_list&& grads) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!grads[0].defined()) return {Tensor()};
        return {gather_backward_recorded(grads[0], index.unpack(), axis, size)};
    }
    SavedVariable index;
    std::int64_t axis, size;
};

// The gradient of gather_backward, which is linear.
struct GatherAgain : Node {
    std::string name() const override { return "GatherBackwardBackward"; }
    void release_variables() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        index.reset_data();
    }
    variable_list apply(variable_list&& grads) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!grads[0].defined()) return {Tensor()};
        return {gather_recorded(grads[0], index.unpack(), axis)};
    }
    SavedVariable index;
    std::int64_t axis;
};

}  // namespace

Tensor gather(const Tensor& x, const Tensor& index, std::int64_t axis) {
    c10::List<std::optional<Tensor>> indices;
    for (std::int64_t i = 0; i < axis; ++i) indices.push_back(std::nullopt);
    indices.push_back(index);
    return at::index(x, indices);
}

Tensor gather_recorded(const Tensor& x, const Tensor& index, std::int64_t axis) {
    const Tensor result = below_autograd([&] { return gather(x, index, axis); });
    if (is_recorded(x)) {
        auto node = make_node<GatherBackward>();
        auto& own = static_cast<GatherBackward&>(*node);
        own.index = SavedVariable(index, /*is_output=*/false);
        own.axis = axis;
        own.size = x.size(axis);
        record(result, node, x);
    }
    return result;
}

Tensor gather_backward(const Tensor& grad, const Tensor& index, std::int64_t axis,
                       std::int64_t size) {
    const Tensor given = grad.contiguous(), wide = index.to(at::kLong).contiguous();
    std::vector<std::int64_t> shape = grad.sizes().vec();
    shape.erase(shape.begin() + axis, shape.begin() + axis + index.dim());
    std::int64_t outer = 1, inner = 1;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(shape.size()); ++i)
        (i < axis ? outer : inner) *= shape[i];
    shape.insert(shape.begin() + axis, size);
    Tensor result = at::empty(shape, given.options());
    if (result.numel() == 0) return result;
    const Order order = order_of(wide.const_data_ptr<std::int64_t>(), wide.numel(), size);
    AT_DISPATCH_FLOATING_TYPES(given.scalar_type(), "gather_backward", [&] {
        add_by_place(given.const_data_ptr<scalar_t>(), order, outer, size, inner,
                     result.data_ptr<scalar_t>());
    });
    return result;
}

Tensor gather_backward_recorded(const Tensor& grad, const Tensor& index, std::int64_t axis,
                                std::int64_t size) {
    const Tensor result = below_autograd([&] { return call_backward(grad, index, axis, size); });
    if (is_recorded(grad)) {
        auto node = make_node<GatherAgain>();
        auto& own = static_cast<GatherAgain&>(*node);
        own.index = SavedVariable(index, /*is_output=*/false);
        own.axis = axis;
        record(result, node, grad);
    }
    return result;
}

}  // namespace impl_torch_ext
