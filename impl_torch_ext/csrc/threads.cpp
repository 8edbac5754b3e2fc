#include "threads.h"

#include <ATen/Parallel.h>

#include <functional>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace impl_torch_ext {

namespace {

std::atomic<bool> forked{false};

#if defined(__unix__) || defined(__APPLE__)
const int watched = pthread_atfork(nullptr, nullptr, [] { forked = true; });
#endif

struct Recorder {
    bool on = false;
    std::int64_t teams = 0;
    std::vector<std::int64_t> names;
    TeamRecord record;
};
thread_local Recorder recorder;

}  // namespace

bool has_openmp() {
#ifdef _OPENMP
    return true;
#else
    return false;
#endif
}

int threads_available() {
    if (!has_openmp() || forked.load(std::memory_order_relaxed) || at::in_parallel_region()) {
        return 1;
    }
    return at::get_num_threads();
}

TeamRecord record_teams(bool on) {
    TeamRecord kept;
    kept.swap(recorder.record);
    recorder.on = on;
    recorder.teams = 0;
    return kept;
}

namespace internal {

std::int64_t* next_team(int count) {
    if (!recorder.on) return nullptr;
    recorder.names.resize(count);
    return recorder.names.data();
}

void keep_team(const std::int64_t* names, int count) {
    for (int i = 0; i < count; ++i) recorder.record.push_back({recorder.teams, count, names[i]});
    ++recorder.teams;
}

std::int64_t name_of_thread() {
    return static_cast<std::int64_t>(std::hash<std::thread::id>{}(std::this_thread::get_id()));
}

}  // namespace internal

}  // namespace impl_torch_ext
