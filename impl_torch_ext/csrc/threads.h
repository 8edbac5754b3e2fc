// How work is shared among the threads that torch keeps, which are OpenMP's.
#pragma once

#include <c10/util/ParallelGuard.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <vector>

#include "kernels.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace impl_torch_ext {

// Whether this library was compiled with OpenMP; without it there is one thread.
bool has_openmp();

// The threads that may share work now: torch.get_num_threads(), but one inside a parallel region
// and in the child of a fork, where those of the parent are gone and OpenMP would wait for them.
int threads_available();

// One of `count` threads that do a piece of work together.
struct Member {
    int index, count;
};

// What tests see of the threads: {number of the team, members, thread} for each member. Turned on
// and off for the thread that asks; returns what was kept since it was turned on.
using TeamRecord = std::vector<std::array<std::int64_t, 3>>;
TeamRecord record_teams(bool on);

namespace internal {
// Room for the names of `count` threads, or null where nobody asked for them.
std::int64_t* next_team(int count);
void keep_team(const std::int64_t* names, int count);
std::int64_t name_of_thread();
}  // namespace internal

// Calls work(member) at once on `wanted` threads, or as many as there are. What a member throws is
// thrown here; a member that others wait for must not throw.
template <typename Work>
void run_team(std::int64_t wanted, const Work& work) {
    const int count =
        wanted > 1 ? static_cast<int>(std::min<std::int64_t>(wanted, threads_available())) : 1;
    std::int64_t* const names = internal::next_team(count);
    int there = 1;
    std::exception_ptr error;
#ifdef _OPENMP
    if (count > 1) {
        std::atomic_flag failed = ATOMIC_FLAG_INIT;
        // All of torch's threads, of which some may have nothing to do: OpenMP would end those that
        // a smaller team leaves out, and start them again.
#pragma omp parallel
        {
            const c10::ParallelGuard guard(true);
            // OpenMP may give fewer than were asked for.
            const Member member{omp_get_thread_num(), std::min(count, omp_get_num_threads())};
            if (member.index == 0) there = member.count;
            if (member.index < member.count) {
                if (names != nullptr) names[member.index] = internal::name_of_thread();
                try {
                    work(member);
                } catch (...) {
                    if (!failed.test_and_set()) error = std::current_exception();
                }
            }
        }
        if (names != nullptr) internal::keep_team(names, there);
        if (error) std::rethrow_exception(error);
        return;
    }
#endif
    if (names != nullptr) names[0] = internal::name_of_thread();
    work(Member{0, 1});
    if (names != nullptr) internal::keep_team(names, there);
}

// Calls work(first, last) for parts of [0, size) of at least `grain` on several threads.
template <typename Work>
void share(std::int64_t size, std::int64_t grain, const Work& work) {
    if (size <= 0) return;
    run_team(size / std::max<std::int64_t>(1, grain), [&](const Member& member) {
        const auto [first, last] = part_of(size, member.index, member.count);
        if (first < last) work(first, last);
    });
}

}  // namespace impl_torch_ext
