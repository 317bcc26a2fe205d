// What a debugger needs to list tasks and to show where the parked ones stopped: where things lie. scripts/gdb/weft-gdb.py reads it.
//
// A release build has no debug information, and a user's program often has only its own. So the places are data in the program, found
// by one symbol, weft_debugger_layout; a script of any version reads any program's, live or from a core file, by the fields' names. What
// a field of the runtime is called in C++ may change as it likes; what it means to the script is its name here:
//
//   chunks            address of the pointer to the newest chunk of task memory (task_pool.hpp)
//   chunk.*, task.*   where in a chunk, in a task, the field lies; so worker.*, stack.*, request.*, scheduler.*
//   task.joined       of a task in phase joining: the one that it runs above its own frames
//   phase.*, word.*   values
//   reasons           address of the names of wait reasons
//   stack.sp, .pc, .frame   where the code on it stopped. .pc missing: the frame pointer alone is known, of the function that left, and
//                           {its caller's frame pointer, return address} lie there
//
// Rejected: debug information (none in release builds), functions for the debugger to call (a core file runs none).

#include <cstddef>
#include <cstdint>

#include "runtime/observe/reports.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/task_pool.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sched/worker.hpp"

// Both compilers have offsetof for classes with bases.
#pragma GCC diagnostic ignored "-Winvalid-offsetof"

namespace weft::rt {

struct debugger_access {
  static constexpr std::size_t all_workers = offsetof(scheduler, all_workers_);
};

}  // namespace weft::rt

namespace {

using namespace weft::rt;

struct place {
  char name[24];  // ends with a zero
  std::uint64_t value;
};

#define WEFT_PLACE(name, type, member) {name, offsetof(type, member)}
#define WEFT_VALUE(name, value) {name, static_cast<std::uint64_t>(value)}
constexpr place places[] = {
    WEFT_PLACE("chunk.next", task_chunk, next),
    WEFT_PLACE("chunk.block_size", task_chunk, block_size),
    WEFT_PLACE("chunk.blocks", task_chunk, blocks),
    WEFT_VALUE("chunk.first", task_block_step),
    WEFT_VALUE("task.size", sizeof(task)),
    WEFT_PLACE("task.word", task, word),
    WEFT_PLACE("task.request", task, request),
    WEFT_PLACE("task.joined", task, next_ready),
    WEFT_PLACE("task.phase", task, phase),
    WEFT_PLACE("task.scheduler", task, sched),
    WEFT_PLACE("task.stack", task, own_stack),
    WEFT_PLACE("task.id", task, id),
    WEFT_PLACE("task.place", task, place),
    WEFT_PLACE("task.extra", task, extra),
    WEFT_PLACE("extra.name", task_extra, name),
    WEFT_PLACE("request.reason", park_request, reason),
    WEFT_PLACE("request.object", park_request, object),
    WEFT_PLACE("stack.base", stack, base),
    WEFT_PLACE("stack.sp", stack, exec.sp),
    WEFT_PLACE("stack.frame", stack, exec.frame),
#if WEFT_SWITCH_BY_HAND
    WEFT_PLACE("stack.pc", stack, exec.resume_at),
#endif
    WEFT_VALUE("scheduler.workers", debugger_access::all_workers),
    WEFT_PLACE("worker.next", worker, all_next),
    WEFT_PLACE("worker.current", worker, current),
    WEFT_PLACE("worker.stack", worker, on),
    WEFT_PLACE("worker.thread", worker, thread_id),
    WEFT_VALUE("word.state", wait_word::state_mask),
    WEFT_VALUE("word.waiting", wait_word::waiting),
    WEFT_VALUE("phase.free", task_phase::free),
    WEFT_VALUE("phase.fresh", task_phase::fresh),
    WEFT_VALUE("phase.running", task_phase::running),
    WEFT_VALUE("phase.yielded", task_phase::yielded),
    WEFT_VALUE("phase.joining", task_phase::joining),
    WEFT_VALUE("phase.parked", task_phase::parked),
    WEFT_VALUE("phase.ended", task_phase::ended),
    WEFT_VALUE("reason.join", wait_reason::join),
    WEFT_VALUE("reasons.count", std::size(wait_reason_names)),
};
#undef WEFT_PLACE
#undef WEFT_VALUE

struct layout {
  std::uint32_t version;  // of this struct
  std::uint32_t count;
  void const* chunks;
  void const* reasons;
  place const* first;
};

}  // namespace

extern "C" {
// The attributes: nothing in the program reads it.
extern layout const weft_debugger_layout;
[[gnu::used]] constinit layout const weft_debugger_layout{.version = 1,
                                                          .count = std::size(places),
                                                          .chunks = &weft::rt::task_chunks,
                                                          .reasons = weft::rt::wait_reason_names,
                                                          .first = places};
}

namespace weft::rt {

void const* debugger_layout() noexcept { return &weft_debugger_layout; }

}  // namespace weft::rt
