// A select over two channels against senders, closers and its own deadline. All of runtime/chan that takes part is the runtime's; parking and
// making ready are those of wait.cpp, for one task, whose hook runs in a thread of its own.

#include "runtime/chan/channel.hpp"

#include <weft/detail/select_case.hpp>
#include <weft/detail/simulated.hpp>

#include "runtime/base/check.hpp"
#include "tests/model/protocols.hpp"

constinit std::atomic<unsigned> weft::detail::simulations{0};

namespace model {
namespace {

using namespace weft::rt;
using weft::detail::select_case;
using weft::detail::select_kind;

/// The one task, and what parks it.
struct parking {
  waiter task;
  park_request const* request = nullptr;
  bell left;   // the task has left its stack: its hook runs
  bell ready;  // to be resumed
  bell armed;  // the timer
  bool timed = false, over = false;
};
parking* now_parking = nullptr;

struct holding {
  explicit holding(channel& c) : held(c) { held.lock.lock(passing_owner); }
  ~holding() { held.lock.unlock(); }
  holding(holding const&) = delete;
  holding& operator=(holding const&) = delete;
  channel& held;
};

}  // namespace
}  // namespace model

// ---- what the runtime's layers below give to channels ---------------------------------------------------------------

thread_local constinit std::uint32_t weft_lock_owner = weft::detail::passing_owner;
weft::detail::lock_owner weft::detail::lock_owner_out_of_line() noexcept { return weft_lock_owner; }

namespace weft::rt {

waiter& wait_point(bool& cancelled) {
  cancelled = false;
  return model::now_parking->task;
}
waiter& cancellation_point() { return model::now_parking->task; }
waiter& prepare_wait() { return model::now_parking->task; }
waiting_caller wait_at_once() noexcept { return waiting_caller(&model::now_parking->task); }
cancel_node* current_context() noexcept { return nullptr; }
cancel_node* cancelled_context() noexcept { return nullptr; }
bool is_own_done_channel(void const*) noexcept { return false; }
std::uint64_t random_below(std::uint64_t n) noexcept { return model::choose(static_cast<unsigned>(n)); }

how park_task(waiter& w, park_request const& request) noexcept {
  model::parking& p = *model::now_parking;
  p.request = &request;
  p.left.ring();
  p.ready.wait();
  return end_wait(w);
}
how park_otherwise(waiter& w, park_request const& request) noexcept { return park_task(w, request); }

void ready(waiter& w) noexcept {
  if (!left_to_thawer(w)) model::check(model::now_parking->ready.ring(), "a task is queued twice");
}
void ready_all(ready_list& list) noexcept {
  while (waiter* w = list.pop()) ready(*w);
}

void fatal(char const* what, ...) {
  model::check(false, what);
  std::abort();
}
void check_failed(char const*, int, char const*, char const* why) noexcept {
  model::check(false, why);
  std::abort();
}

}  // namespace weft::rt

namespace weft {
cancelled::cancelled(rt::cancel_node* node) noexcept : node_(node) {}
cancelled::cancelled(cancelled const& other) noexcept : node_(other.node_) {}
cancelled& cancelled::operator=(cancelled const&) noexcept { return *this; }
cancelled::~cancelled() = default;
std::error_code cancelled::code() const noexcept { return {}; }
char const* cancelled::what() const noexcept { return ""; }
namespace detail {
std::int64_t deadline_in(std::int64_t ns) noexcept { return ns; }
void preempt() noexcept {}
}  // namespace detail
}  // namespace weft

namespace model {
namespace {

struct fences {
  static void light() { light_fence(); }
};

constexpr weft::detail::elem_ops numbers{sizeof(std::uint64_t), alignof(std::uint64_t), nullptr, nullptr, nullptr};

enum deed : unsigned { sends, closes, sends_and_closes, nothing };

/// Thread 0: the select, which then drops its channels. 1: its hook, and its timer. 2, and 3: one partner for each channel; or the last is
/// left out, and the other serves both.
template <unsigned Buffer, bool Timed, unsigned Partners>
class choosing final : public program {
 public:
  choosing() {
    now_parking = &parking_;
    for (channel*& c : channels_) {
      c = &channel_of(*weft::detail::make_core(numbers, Buffer));
      if (Partners == 2) weft::detail::add_ends(*c, channel::one_sender);
    }
  }
  [[nodiscard]] unsigned threads() const override { return 2 + Partners; }

  void run(unsigned thread) override {
    if (thread == 0) select();
    else if (thread == 1) hook();
    else if (Partners == 2) act(thread - 2);
    else act(0), act(1);
    if (thread >= 2)
      for (channel* c : channels_) weft::detail::drop_ends(*c, channel::one_sender);
  }

  void end() override {
    for (unsigned i = 0; i < 2; ++i) check(taken_[i] <= 1, "a value is received twice");
    check(blocks_given_back() == 2, "a channel that nobody holds is not freed, or is freed twice");
    check(!lost_, "a value that was sent is neither received nor in its channel");
  }

 private:
  void select() WEFT_NO_THREAD_SAFETY_ANALYSIS {
    std::uint64_t got[2] = {};
    select_case cases[3];
    for (unsigned i = 0; i < 2; ++i) {
      cases[i].kind = select_kind::recv;
      cases[i].core = channels_[i];
      cases[i].slot = &got[i];
    }
    cases[2].kind = select_kind::timeout;
    cases[2].when = 5;
    auto const out = weft::detail::select_run(cases, Timed ? 3 : 2, false);
    parking_.over = true;
    parking_.left.ring();
    parking_.armed.ring();
    check(out.index < (Timed ? 3 : 2), "a select ends with no case");
    for (unsigned i = 0; i < 2; ++i) {
      bool const mine = out.index == i && out.ok;
      check(mine == (got[i] != 0),
            "a value stands in the slot of a case that was not chosen, or the chosen one has none");
      if (mine) check(got[i] == 10 + i, "a value that was never sent");
      channel& c = *channels_[i];
      std::uint64_t rest = 0;
      if (weft::detail::chan_try_recv(&c, &rest) == weft::chan_status::ok) check(!mine, "a value is received twice");
      else rest = 0;
      taken_[i] += (mine ? 1 : 0) + (rest != 0 ? 1 : 0);
      {
        holding const hold(c);
        check(c.receivers.head == nullptr, "a record is left in a channel");
        check(c.pins == 0, "a channel is pinned for ever");
        lost_ |= sent_[i] && taken_[i] == 0 && c.count.load(std::memory_order_relaxed) == 0;
      }
      weft::detail::drop_ends(c, channel::one_receiver);
    }
  }

  void hook() {
    parking_.left.wait();
    if (parking_.over) return;
    auto* const unlock = parking_.request->unlock;
    void* const arg = parking_.request->arg;
    bool const timed = parking_.request->deadline != never;
    std::uint64_t const generation = wait_word::generation(parking_.task.word.load(std::memory_order_relaxed));
    bool const early = mutated("H5 before H1: the channels are unlocked before the wait is published");
    if (early) unlock(arg);
    publish_wait<fences>(parking_.task, generation, true);  // H1
    if (!early) unlock(arg);                                // H5
    if (timed && claim(parking_.task, generation, how::timeout)) weft::rt::ready(parking_.task);
  }

  void act(unsigned i) {
    channel& c = *channels_[i];
    unsigned const what = choose(Partners == 2 ? 4 : 3);
    std::uint64_t value = 10 + i;
    if (what == sends || what == sends_and_closes) {
      bool const went = weft::detail::chan_try_send(&c, &value) == weft::chan_status::ok;
      holding const hold(c);
      sent_[i] = went;
    }
    if (what == closes || what == sends_and_closes) weft::detail::chan_close(c);
  }

  parking parking_;
  channel* channels_[2];
  bool sent_[2] = {};  // guarded by the channel's lock
  unsigned taken_[2] = {};
  bool lost_ = false;
};

constexpr scenario scenarios[] = {
    {"two channels without buffers and one partner", make<choosing<0, false, 1>>, true, false, 2},
    {"two channels with buffers and one partner", make<choosing<1, false, 1>>, true, false, 2},
    {"two channels and a deadline and one partner", make<choosing<0, true, 1>>, true, false, 1},
    {"two channels and two partners", make<choosing<0, false, 2>>, true, false, 1},
};

constexpr harmless harmless_ones[] = {
    {"may_send: *", change::none, "a peek is a hint: what counts is looked at under the lock"},
    {"is_closed: state.load", change::skipped, "may_receive has looked under the same lock"},
    {"may_receive: *", change::none, "the same"},
    {"is_closed: state.load", change::relaxed, "under the lock here"},
    {"set_count: c.count.store", change::none, "for the peeks"},
    {"try_recv_locked: c.count.load", change::skipped,
     "the lock's holder wrote it last, or the other side did: then a value is met later"},
    {"try_send_locked: c.count.load", change::skipped, "the same"},
    {"drop_ends: core.ends.fetch_sub", change::relaxed, "the lock orders who frees"},
};

}  // namespace

protocol const selecting{"close and select", "select.cpp attempt.hpp channel.cpp ends.cpp operations.cpp chan_core.hpp",
                         scenarios, harmless_ones};

}  // namespace model
