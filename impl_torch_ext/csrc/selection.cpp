#include "selection.h"

#include <ATen/ExpandUtils.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace impl_torch_ext {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct Absolute : torch::autograd::Function<Absolute> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x) {
        const at::AutoDispatchBelowADInplaceOrView guard;
        ctx->save_for_backward({x});
        return at::abs(x);
    }

    static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
        const Tensor x = ctx->get_saved_variables()[0], &g = grads[0];
        const Tensor rest = at::where(x.eq(0), 0.0, std::numeric_limits<double>::quiet_NaN());
        return {at::where(x.gt(0), g, at::where(x.lt(0), g.neg(), rest.to(g.scalar_type())))};
    }
};

struct Extremum : torch::autograd::Function<Extremum> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x1, const Tensor& x2, bool largest) {
        const at::AutoDispatchBelowADInplaceOrView guard;
        ctx->save_for_backward({x1, x2});
        ctx->saved_data["largest"] = largest;
        return extremum(x1, x2, largest);
    }

    static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
        const auto saved = ctx->get_saved_variables();
        const Tensor &a = saved[0], &b = saved[1], &g = grads[0];
        const Tensor no_a = at::isnan(a), no_b = at::isnan(b);
        const Tensor same = a.eq(b).logical_or(no_a.logical_and(no_b));
        const Tensor ahead = ctx->saved_data["largest"].toBool() ? a.gt(b) : a.lt(b);
        const Tensor first = ahead.logical_or(no_a.logical_and(no_b.logical_not()));
        const Tensor half = at::where(same, g.mul(0.5), 0.0);
        tensor_list result(3);
        if (ctx->needs_input_grad(0))
            result[0] = at::sum_to(at::where(first, g, half), a.sizes()).to(a.scalar_type());
        if (ctx->needs_input_grad(1)) {
            const Tensor other = at::where(first.logical_or(same), half, g);
            result[1] = at::sum_to(other, b.sizes()).to(b.scalar_type());
        }
        return result;
    }
};

struct Extreme : torch::autograd::Function<Extreme> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x, at::IntArrayRef axes, bool keepdim,
                          bool largest) {
        const at::AutoDispatchBelowADInplaceOrView guard;
        const Tensor y = extreme(x, axes, keepdim, largest);
        std::vector<std::int64_t> places = axes.vec();
        if (places.empty())
            for (std::int64_t axis = 0; axis < x.dim(); ++axis) places.push_back(axis);
        for (auto& place : places) place = at::maybe_wrap_dim(place, x.dim());
        std::sort(places.begin(), places.end());
        ctx->save_for_backward({x, y});
        ctx->saved_data["places"] = places;
        ctx->saved_data["keepdim"] = keepdim;
        return y;
    }

    static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
        const auto saved = ctx->get_saved_variables();
        const Tensor& x = saved[0];
        const auto places = ctx->saved_data["places"].toIntVector();
        Tensor y = saved[1], g = grads[0];
        if (!ctx->saved_data["keepdim"].toBool()) {
            for (const std::int64_t place : places) {
                y = y.unsqueeze(place);
                g = g.unsqueeze(place);
            }
        }
        const Tensor chosen = x.eq(y).logical_or(at::isnan(x).logical_and(at::isnan(y)));
        const Tensor count = chosen.sum(places, /*keepdim=*/true);
        return {at::where(chosen, g.div(count), 0.0), Tensor(), Tensor(), Tensor()};
    }
};

}  // namespace

Tensor absolute(const Tensor& x) { return at::abs(x); }

Tensor absolute_recorded(const Tensor& x) { return Absolute::apply(x); }

Tensor extremum(const Tensor& x1, const Tensor& x2, bool largest) {
    return largest ? at::maximum(x1, x2) : at::minimum(x1, x2);
}

Tensor extremum_recorded(const Tensor& x1, const Tensor& x2, bool largest) {
    return Extremum::apply(x1, x2, largest);
}

Tensor extreme(const Tensor& x, at::IntArrayRef axes, bool keepdim, bool largest) {
    return largest ? at::amax(x, axes, keepdim) : at::amin(x, axes, keepdim);
}

Tensor extreme_recorded(const Tensor& x, at::IntArrayRef axes, bool keepdim, bool largest) {
    return Extreme::apply(x, axes, keepdim, largest);
}

}  // namespace impl_torch_ext
