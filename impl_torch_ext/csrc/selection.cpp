#include "selection.h"

#include <ATen/Dispatch.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "node.h"
#include "selection_loops.h"
#include "threads.h"

namespace impl_torch_ext {

namespace {

constexpr double INFINITE = std::numeric_limits<double>::infinity();

// So many elements are worth a thread.
constexpr std::int64_t GRAIN = 1 << 15;

// Whether a tensor's elements are in this process's memory, and nothing else stands for them.
bool is_ordinary(const Tensor& x) {
    return !is_wrapped(x) && x.is_cpu() && x.layout() == at::kStrided &&
           !x.unsafeGetTensorImpl()->is_python_dispatch();
}

// Whether one loop can go over all of these; else, and where the gradient is recorded in its turn,
// it is composed of torch's operations.
template <typename... Others>
bool loops(const Tensor& grad, const Others&... others) {
    const auto plain = [&](const Tensor& x) {
        return is_ordinary(x) && x.is_contiguous() && !x.is_neg() && !x._is_zerotensor() &&
               x.scalar_type() == grad.scalar_type();
    };
    const bool known = grad.scalar_type() == at::kFloat || grad.scalar_type() == at::kDouble;
    return known && !is_recorded(grad, others...) && plain(grad) && (plain(others) && ...);
}

// The gradient for a loop: what a sum has spread over its operand has one element for all.
Tensor laid_out(const Tensor& grad) {
    return is_ordinary(grad) && !is_recorded(grad) ? grad.contiguous() : grad;
}

// Runs `loop(result, first, count)` for parts of a result like x.
template <typename Loop>
Tensor in_one_pass(const Tensor& x, const Loop& loop) {
    Tensor result = at::empty_like(x);
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "in_one_pass", [&] {
        auto* to = result.data_ptr<scalar_t>();
        const auto part = [&](std::int64_t i, std::int64_t end) { loop(to, i, end - i); };
        share(x.numel(), GRAIN, part);
    });
    return result;
}

Tensor absolute_gradient(const Tensor& grad, const Tensor& x) {
    if (!loops(grad, x)) {
        const Tensor rest = at::where(x.eq(0), 0.0, std::numeric_limits<double>::quiet_NaN());
        const Tensor below = at::where(x.lt(0), grad.neg(), rest.to(grad.scalar_type()));
        return at::where(x.gt(0), grad, below);
    }
    return in_one_pass(x, [&]<typename T>(T* result, std::int64_t i, std::int64_t count) {
        absolute_loop(grad.const_data_ptr<T>() + i, x.const_data_ptr<T>() + i, result + i, count);
    });
}

Tensor clamp_gradient(const Tensor& grad, const Tensor& x, double low, double high) {
    if (!loops(grad, x)) {
        const Tensor inside = x.ge(low).logical_and(x.le(high));
        return at::where(inside.logical_or(at::isnan(x)), grad, 0.0);
    }
    return in_one_pass(x, [&]<typename T>(T* result, std::int64_t i, std::int64_t count) {
        clamp_loop(grad.const_data_ptr<T>() + i, x.const_data_ptr<T>() + i, static_cast<T>(low),
                   static_cast<T>(high), result + i, count);
    });
}

// The gradient that goes to `mine`.
Tensor extremum_gradient(const Tensor& grad, const Tensor& mine, const Tensor& other,
                         bool largest) {
    if (mine.sizes() != other.sizes() || !loops(grad, mine, other)) {
        const Tensor none = at::isnan(mine), others_none = at::isnan(other);
        const Tensor same = mine.eq(other).logical_or(none.logical_and(others_none));
        const Tensor ahead = largest ? mine.gt(other) : mine.lt(other);
        const Tensor first = ahead.logical_or(none.logical_and(others_none.logical_not()));
        const Tensor all = at::where(first, grad, at::where(same, grad.mul(0.5), 0.0));
        return at::sum_to(all, mine.sizes()).to(mine.scalar_type());
    }
    return in_one_pass(mine, [&]<typename T>(T* result, std::int64_t i, std::int64_t count) {
        extremum_loop(grad.const_data_ptr<T>() + i, mine.const_data_ptr<T>() + i,
                      other.const_data_ptr<T>() + i, largest, result + i, count);
    });
}

// `places` are all the axes that were reduced, in order; grad and y have none of them, or all.
Tensor composed_extreme_gradient(Tensor grad, const Tensor& x, Tensor y,
                                 const std::vector<std::int64_t>& places, bool keepdim) {
    if (!keepdim) {
        for (const std::int64_t place : places) {
            y = y.unsqueeze(place);
            grad = grad.unsqueeze(place);
        }
    }
    const Tensor chosen = x.eq(y).logical_or(at::isnan(x).logical_and(at::isnan(y)));
    const Tensor count = chosen.sum(places, /*keepdim=*/true);
    return at::where(chosen, grad.div(count), 0.0);
}

// x (outer, n, inner) and its extremes (outer, inner).
template <typename T>
struct Extremes {
    const T *grad, *x, *extreme;
    T* result;
    std::int64_t n, inner;

    void operator()(std::int64_t begin, std::int64_t end) const {
        std::vector<std::int64_t> numbers(inner);
        std::vector<T> shares(inner);
        for (std::int64_t i = begin; i < end; ++i)
            extreme_loop(grad + i * inner, x + i * n * inner, extreme + i * inner,
                         result + i * n * inner, n, inner, numbers.data(), shares.data());
    }
};

Tensor extreme_gradient(const Tensor& grad, const Tensor& x, const Tensor& y,
                        const std::vector<std::int64_t>& places, bool keepdim) {
    const auto reduced = static_cast<std::int64_t>(places.size());
    const bool together = reduced > 0 && places.back() - places.front() + 1 == reduced;
    if (!together || !loops(grad, x, y))
        return composed_extreme_gradient(grad, x, y, places, keepdim);
    std::int64_t outer = 1, n = 1, inner = 1;
    for (std::int64_t i = 0; i < x.dim(); ++i)
        (i < places.front() ? outer : i > places.back() ? inner : n) *= x.size(i);
    Tensor result = at::empty_like(x);
    const std::int64_t grain =
        std::max<std::int64_t>(1, GRAIN / std::max<std::int64_t>(1, n * inner));
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "extreme", [&] {
        const Extremes<scalar_t> part{grad.const_data_ptr<scalar_t>(),
                                      x.const_data_ptr<scalar_t>(),
                                      y.const_data_ptr<scalar_t>(),
                                      result.data_ptr<scalar_t>(),
                                      n,
                                      inner};
        share(outer, grain, part);
    });
    return result;
}

struct AbsoluteBackward : Node {
    std::string name() const override { return "AbsoluteBackward"; }
    void release_variables() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        x.reset_data();
    }
    variable_list apply(variable_list&& grads) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!grads[0].defined()) return {Tensor()};
        return {absolute_gradient(laid_out(grads[0]), x.unpack())};
    }
    SavedVariable x;
};

struct ClampBackward : Node {
    std::string name() const override { return "ClampBackward"; }
    void release_variables() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        x.reset_data();
    }
    variable_list apply(variable_list&& grads) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!grads[0].defined()) return {Tensor()};
        return {clamp_gradient(laid_out(grads[0]), x.unpack(), low, high)};
    }
    SavedVariable x;
    double low, high;
};

struct ExtremumBackward : Node {
    std::string name() const override { return "ExtremumBackward"; }
    void release_variables() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        x1.reset_data();
        x2.reset_data();
    }
    variable_list apply(variable_list&& grads) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        variable_list result(2);
        if (!grads[0].defined()) return result;
        const Tensor grad = laid_out(grads[0]), a = x1.unpack(), b = x2.unpack();
        if (task_should_compute_output(0)) result[0] = extremum_gradient(grad, a, b, largest);
        if (task_should_compute_output(1)) result[1] = extremum_gradient(grad, b, a, largest);
        return result;
    }
    SavedVariable x1, x2;
    bool largest;
};

struct ExtremeBackward : Node {
    std::string name() const override { return "ExtremeBackward"; }
    void release_variables() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        x.reset_data();
        y.reset_data();
    }
    variable_list apply(variable_list&& grads) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!grads[0].defined()) return {Tensor()};
        return {extreme_gradient(laid_out(grads[0]), x.unpack(), y.unpack(), places, keepdim)};
    }
    SavedVariable x, y;
    std::vector<std::int64_t> places;
    bool keepdim;
};

}  // namespace

Tensor absolute(const Tensor& x) { return at::abs(x); }

Tensor absolute_recorded(const Tensor& x) {
    if (have_tangents(x)) return at::abs(x);
    const Tensor result = below_autograd([&] { return at::abs(x); });
    if (is_recorded(x)) {
        auto node = make_node<AbsoluteBackward>();
        static_cast<AbsoluteBackward&>(*node).x = SavedVariable(x, /*is_output=*/false);
        record(result, node, x);
    }
    return result;
}

Tensor clamp(const Tensor& x, std::optional<double> low, std::optional<double> high) {
    return at::clamp(x, low ? std::optional<at::Scalar>(*low) : std::nullopt,
                     high ? std::optional<at::Scalar>(*high) : std::nullopt);
}

Tensor clamp_recorded(const Tensor& x, std::optional<double> low, std::optional<double> high) {
    if (have_tangents(x)) {  // at::clamp has a tangent of 0 at NaN.
        const Tensor above = low ? at::where(x.lt(*low), *low, x) : x;
        return high ? at::where(above.gt(*high), *high, above) : above;
    }
    const Tensor result = below_autograd([&] { return clamp(x, low, high); });
    if (is_recorded(x)) {
        auto node = make_node<ClampBackward>();
        auto& own = static_cast<ClampBackward&>(*node);
        own.x = SavedVariable(x, /*is_output=*/false);
        own.low = low.value_or(-INFINITE);
        own.high = high.value_or(INFINITE);
        record(result, node, x);
    }
    return result;
}

Tensor extremum(const Tensor& x1, const Tensor& x2, bool largest) {
    return largest ? at::maximum(x1, x2) : at::minimum(x1, x2);
}

Tensor extremum_recorded(const Tensor& x1, const Tensor& x2, bool largest) {
    if (have_tangents(x1, x2)) return extremum(x1, x2, largest);
    const Tensor result = below_autograd([&] { return extremum(x1, x2, largest); });
    if (is_recorded(x1, x2)) {
        auto node = make_node<ExtremumBackward>();
        auto& own = static_cast<ExtremumBackward&>(*node);
        own.x1 = SavedVariable(x1, /*is_output=*/false);
        own.x2 = SavedVariable(x2, /*is_output=*/false);
        own.largest = largest;
        record(result, node, x1, x2);
    }
    return result;
}

Tensor extreme(const Tensor& x, at::IntArrayRef axes, bool keepdim, bool largest) {
    return largest ? at::amax(x, axes, keepdim) : at::amin(x, axes, keepdim);
}

Tensor extreme_recorded(const Tensor& x, at::IntArrayRef axes, bool keepdim, bool largest) {
    if (have_tangents(x)) return extreme(x, axes, keepdim, largest);
    const Tensor result = below_autograd([&] { return extreme(x, axes, keepdim, largest); });
    if (is_recorded(x)) {
        auto node = make_node<ExtremeBackward>();
        auto& own = static_cast<ExtremeBackward&>(*node);
        own.places = axes.vec();
        if (axes.empty())
            for (std::int64_t axis = 0; axis < x.dim(); ++axis) own.places.push_back(axis);
        for (auto& place : own.places) place = at::maybe_wrap_dim(place, x.dim());
        std::sort(own.places.begin(), own.places.end());
        own.keepdim = keepdim;
        own.x = SavedVariable(x, /*is_output=*/false);
        // Without its history, which would hold the node, and with its counter of changes.
        own.y = SavedVariable(result.tensor_data(), /*is_output=*/false);
        record(result, node, x);
    }
    return result;
}

}  // namespace impl_torch_ext
