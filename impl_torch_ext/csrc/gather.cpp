#include "gather.h"

#include <ATen/Dispatch.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/index.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <optional>
#include <vector>

#include "node.h"
#include "threads.h"

namespace impl_torch_ext {

namespace {

// Up to so many slices the error of adding one after another stays below that of pairs.
constexpr std::int64_t FEW = 16;

// So many additions are worth a thread.
constexpr std::int64_t GRAIN = 1 << 15;

// Slices that go to one destination after those that go to the one before it.
struct Runs {
    std::vector<std::int64_t> destinations;  // Those that any slice goes to.
    std::vector<std::int64_t> starts;        // One more: where in `places` each run starts.
    std::vector<std::int64_t> places;        // The slices, in their order within a run.
};

std::vector<std::int64_t> counted_from_the_front(const std::int64_t* index, std::int64_t count,
                                                 std::int64_t size) {
    std::vector<std::int64_t> result(index, index + count);
    for (auto& place : result) {
        TORCH_CHECK_INDEX(-size <= place && place < size, "gather_backward: indices must be in [",
                          -size, ", ", size, "), got ", place);
        if (place < 0) place += size;
    }
    return result;
}

// Returns the numbers of the elements of `index`, sorted by their values; equal ones in order.
std::vector<std::int64_t> sorted(const std::vector<std::int64_t>& index, std::int64_t size) {
    const auto count = static_cast<std::int64_t>(index.size());
    std::vector<std::int64_t> places(count);
    if (count < size / 8) {  // Where few are chosen, room for all would be most of the work.
        std::iota(places.begin(), places.end(), 0);
        const auto before = [&](std::int64_t i, std::int64_t j) { return index[i] < index[j]; };
        std::stable_sort(places.begin(), places.end(), before);
        return places;
    }
    std::vector<std::int64_t> next(size + 1);
    for (const std::int64_t place : index) ++next[place + 1];
    std::partial_sum(next.begin(), next.end(), next.begin());
    for (std::int64_t k = 0; k < count; ++k) places[next[index[k]]++] = k;
    return places;
}

Runs runs_of(const std::int64_t* given, std::int64_t count, std::int64_t size) {
    const auto index = counted_from_the_front(given, count, size);
    Runs runs;
    runs.places = sorted(index, size);
    for (std::int64_t k = 0; k < count; ++k) {
        const std::int64_t destination = index[runs.places[k]];
        if (k > 0 && destination == runs.destinations.back()) continue;
        runs.destinations.push_back(destination);
        runs.starts.push_back(k);
    }
    runs.starts.push_back(count);
    return runs;
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

// grad (outer, count, inner) to result (outer, size, inner), which is 0. Each slice of the result
// is one thread's, so that its value does not depend on their number.
template <typename T>
struct Sums {
    const T* grad;
    const Runs& runs;
    std::int64_t size, inner;
    T* result;

    void operator()(std::int64_t begin, std::int64_t end) const {
        const auto count = static_cast<std::int64_t>(runs.places.size());
        const auto number = static_cast<std::int64_t>(runs.destinations.size());
        std::vector<T> room(inner * std::bit_width(static_cast<std::uint64_t>(count)));
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t row = i / number, run = i % number, start = runs.starts[run];
            add_slices(grad + row * count * inner, runs.places.data() + start,
                       runs.starts[run + 1] - start, inner,
                       result + (row * size + runs.destinations[run]) * inner, room.data());
        }
    }
};

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

// What gather_backward gives, of operations that have forward-mode derivatives.
Tensor composed_gather_backward(const Tensor& grad, const Tensor& index, std::int64_t axis,
                                std::int64_t size) {
    std::vector<std::int64_t> shape = grad.sizes().vec();
    shape.erase(shape.begin() + axis, shape.begin() + axis + index.dim());
    shape.insert(shape.begin() + axis, index.numel());
    const Tensor slices = grad.reshape(shape);
    shape[axis] = size;
    const Tensor places = index.reshape({-1}).remainder(size);
    return at::zeros(shape, grad.options()).index_add(axis, places, slices);
}

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
    if (have_tangents(x)) return gather(x, index, axis);
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
    Tensor result = at::zeros(shape, given.options());
    if (given.numel() == 0) return result;
    const Runs runs = runs_of(wide.const_data_ptr<std::int64_t>(), wide.numel(), size);
    const auto number = static_cast<std::int64_t>(runs.destinations.size());
    const std::int64_t grain = std::max<std::int64_t>(1, GRAIN * number / wide.numel() / inner);
    AT_DISPATCH_FLOATING_TYPES(given.scalar_type(), "gather_backward", [&] {
        const Sums<scalar_t> sums{given.const_data_ptr<scalar_t>(), runs, size, inner,
                                  result.data_ptr<scalar_t>()};
        share(outer * number, grain, sums);
    });
    return result;
}

Tensor gather_backward_recorded(const Tensor& grad, const Tensor& index, std::int64_t axis,
                                std::int64_t size) {
    if (have_tangents(grad)) return composed_gather_backward(grad, index, axis, size);
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
