// A block of lanes goes through all steps at once: a step of one lane waits for the step before,
// but not for another lane. Lanes that lie side by side fill vectors; others overlap in time.

template <int most>
struct Block {
    std::int64_t count;
    std::int64_t offset[most];  // of each lane in an array (outer, steps, inner)
};

// Calls work(block, lane, side_by_side) for blocks of [first, last), `lane` being their first.
template <typename Work>
IMPL_INLINE void for_blocks(const Lanes& lanes, std::int64_t first, std::int64_t last,
                            const Work& work) {
    constexpr int most = 64, few = 8;
    Block<most> block{};
    for (std::int64_t lane = first; lane < last; lane += block.count) {
        const std::int64_t row = lane / lanes.inner, column = lane % lanes.inner;
        const std::int64_t in_row = lanes.inner - column, left = last - lane;
        const std::int64_t beside = in_row < left ? in_row : left;
        if (beside >= few) {
            block.count = beside < most ? beside : most;
            block.offset[0] = row * lanes.steps * lanes.inner + column;
            work(block, lane, true);
            continue;
        }
        block.count = left < few ? left : few;
        for (std::int64_t k = 0; k < block.count; ++k) {
            const std::int64_t other = lane + k;
            block.offset[k] = other / lanes.inner * lanes.steps * lanes.inner + other % lanes.inner;
        }
        work(block, lane, false);
    }
}

// Calls work(k, place) for each lane of a block, `place` being where its step t lies.
template <bool beside, typename Block, typename Work>
IMPL_INLINE void for_lanes(const Block& block, std::int64_t at, const Work& work) {
    for (std::int64_t k = 0; k < block.count; ++k)
        work(k, at + (beside ? block.offset[0] + k : block.offset[k]));
}

template <bool beside, typename T, typename Block>
IMPL_INLINE void forward_block(const LinearForward<T>& call, const Block& block,
                               std::int64_t lane) {
    const Lanes& lanes = call.lanes;
    const std::int64_t step = lanes.reverse ? -lanes.inner : lanes.inner;
    std::int64_t at = lanes.reverse ? (lanes.steps - 1) * lanes.inner : 0;
    T h[64];
    for_lanes<beside>(block, at, [&](std::int64_t k, std::int64_t place) {
        h[k] = call.b[place];
        if (call.h0 != nullptr) h[k] += call.a[place] * call.h0[lane + k];
        call.h[place] = h[k];
    });
    for (std::int64_t t = 1; t < lanes.steps; ++t) {
        at += step;
        for_lanes<beside>(block, at, [&](std::int64_t k, std::int64_t place) {
            h[k] = call.a[place] * h[k] + call.b[place];
            call.h[place] = h[k];
        });
    }
}

// What a step hands back to the one before: s_t = g_t + a_(t+1) s_(t+1).
template <bool beside, bool for_a, bool for_b, typename T, typename Block>
IMPL_INLINE void backward_block(const LinearBackward<T>& call, const Block& block,
                                std::int64_t lane) {
    const Lanes& lanes = call.lanes;
    const std::int64_t step = lanes.reverse ? -lanes.inner : lanes.inner;
    std::int64_t at = lanes.reverse ? 0 : (lanes.steps - 1) * lanes.inner;
    T passed[64];
    for (std::int64_t k = 0; k < block.count; ++k) passed[k] = T(0);
    for (std::int64_t t = lanes.steps - 1; t > 0; --t, at -= step) {
        for_lanes<beside>(block, at, [&](std::int64_t k, std::int64_t place) {
            const T s = call.grad[place] + passed[k];
            if constexpr (for_b) call.grad_b[place] = s;
            if constexpr (for_a) call.grad_a[place] = s * call.h[place - step];
            passed[k] = call.a[place] * s;
        });
    }
    for_lanes<beside>(block, at, [&](std::int64_t k, std::int64_t place) {
        const T s = call.grad[place] + passed[k];
        if constexpr (for_b) call.grad_b[place] = s;
        // Without h0 that a is not used.
        if constexpr (for_a) call.grad_a[place] = call.h0 == nullptr ? T(0) : s * call.h0[lane + k];
        if (call.grad_h0 != nullptr) call.grad_h0[lane + k] = call.a[place] * s;
    });
}

template <typename T>
void linear_forward(const LinearForward<T>& call, std::int64_t first, std::int64_t last) {
    for_blocks(call.lanes, first, last, [&](const auto& block, std::int64_t lane, bool beside) {
        if (beside) {
            forward_block<true>(call, block, lane);
        } else {
            forward_block<false>(call, block, lane);
        }
    });
}

template <bool for_a, bool for_b, typename T>
IMPL_INLINE void backward_blocks(const LinearBackward<T>& call, std::int64_t first,
                                 std::int64_t last) {
    for_blocks(call.lanes, first, last, [&](const auto& block, std::int64_t lane, bool beside) {
        if (beside) {
            backward_block<true, for_a, for_b>(call, block, lane);
        } else {
            backward_block<false, for_a, for_b>(call, block, lane);
        }
    });
}

template <typename T>
void linear_backward(const LinearBackward<T>& call, std::int64_t first, std::int64_t last) {
    if (call.grad_a != nullptr && call.grad_b != nullptr) {
        backward_blocks<true, true>(call, first, last);
    } else if (call.grad_a != nullptr) {
        backward_blocks<true, false>(call, first, last);
    } else {
        // Of b, or of h0 alone.
        call.grad_b != nullptr ? backward_blocks<false, true>(call, first, last)
                               : backward_blocks<false, false>(call, first, last);
    }
}
