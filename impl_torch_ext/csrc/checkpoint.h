// What a checkpoint has to know of the call that it forgets: where the graph of the call leaves it,
// and whether a Tensor that it used has been changed since.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/custom_class.h>

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "node.h"

namespace impl_torch_ext {

// One run of a function, from start to stop in one thread. Nodes that the thread makes meanwhile
// are the run's own; edges from them to others are where the graph leaves it.
class Recording : public torch::CustomClassHolder {
  public:
    // With `watch` the Tensors are noted that come from outside.
    void start(bool watch);
    void stop();

    // One Tensor for each edge that leaves the graph of `outputs`: it has that edge and no values.
    std::vector<Tensor> leaving(const std::vector<Tensor>& outputs) const;

    // Puts a node of its own into each edge that leaves the graph of `outputs` and is one of
    // `handles`, as `leaving` made them, so that a backward pass can end there. Returns a Tensor of
    // that node for each handle, none where no edge is there.
    std::vector<std::optional<Tensor>> cut(const std::vector<Tensor>& outputs,
                                           const std::vector<Tensor>& handles) const;

    // The shape of a Tensor from outside that has been changed since stop, if there is one.
    std::optional<std::vector<std::int64_t>> changed() const;

    // Whether the edge of this Tensor is one of the run's own.
    bool made(const Tensor& output) const;

    // What an operator takes, and what it makes.
    void see_taken(const Tensor& x);
    void see_made(const Tensor& x);

  private:
    struct Seen {
        c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl> tensor;
        c10::VariableVersion counter;
        std::int64_t version;
        std::vector<std::int64_t> shape;

        std::int64_t present() const;
    };

    bool already_made(const Tensor& x, bool now);
    bool is_own(const Node& node) const;
    void take(Recording& inner);
    // Calls visit(edge) for every edge of the run's own nodes that leaves them.
    template <typename Visit>
    void for_leaving(const std::vector<Tensor>& outputs, const Visit& visit) const;

    std::uint64_t thread_ = 0, first_ = 0, last_ = 0, outer_ = 0;
    bool watch_ = false;
    // By address, which stays taken as long as a weak pointer is there.
    std::unordered_map<const void*, Seen> seen_;
    // Memory, and whether an operator of the run made it: else it had been there before.
    std::unordered_map<const void*, std::pair<c10::weak_intrusive_ptr<c10::StorageImpl>, bool>>
        storages_;
};

// The number of the innermost recording of this thread that has started and not stopped, or 0.
std::uint64_t current_recording();

}  // namespace impl_torch_ext
