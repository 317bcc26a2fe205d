// Signals as values: a handler that only marks, a thread that delivers, and the subscriptions they go to.
//
//   S1 the handler, on whatever thread and stack: sets the signal's bit in `pending`, writes to an eventfd. Nothing else is
//      safe there; errno is kept
//   S2 the thread (one for the process, started by the first subscription) reads the eventfd, and under the lock takes a bit,
//      sends the number to every receiver that subscribed and collects the contexts; these it cancels after the unlock,
//      because that runs callbacks of users. With many contexts in several rounds: no memory is needed
//   S3 nobody wanted it: its last subscription went after S1. The old disposition is back by then, so the signal is
//      raised again and does what it would have done a moment later: by whoever takes the bit, the end of that subscription
//      or the thread. Bits are taken under the lock, and the thread raises before it unlocks, so when a subscription has
//      ended nothing that was noted before can come late, to a handler that is not there any more
//
// A subscription ends in the drop of the last receiver (receivers_watcher), or in the context's listener: notify when it is
// cancelled, release when it goes. It is then taken out under the lock, and the disposition of a signal that has no other is put
// back, unless somebody has replaced weft's handler meanwhile. Such a handler has had the signal, so nothing is raised again: if
// it calls weft's, the one that it found, that would never end.
//
// Rejected: signalfd (needs the signal blocked in every thread of the program, also those that it starts itself, and children
// inherit the mask); a task that reads the eventfd (signals are the process's and work without any runtime).

#include <weft/signal.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include "runtime/base/check.hpp"
#include "runtime/base/lock.hpp"
#include "runtime/chan/channel.hpp"
#include "runtime/platform/descriptor.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/platform/thread.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/observer.hpp"

namespace weft {
namespace {

constexpr int highest_signal = 64;
constexpr std::size_t room_for_signals = 64;
constexpr std::size_t most_at_once = 64;  // contexts that are cancelled before the lock is taken again

constexpr std::uint64_t bit_of(int signal) noexcept { return std::uint64_t{1} << (signal - 1); }

struct subscription : detail::receivers_watcher, rt::cancel_listener {
  std::uint64_t wanted = 0;  // constant; bits of signals
  bool raises_rest = false;  // constant; nobody else can have wanted to have what stands in the channel at the end
  detail::chan_core* to = nullptr;     // either this, one sender of it counted
  rt::cancel_node* cancels = nullptr;  // or this, not counted: it takes the subscription along
  std::uint64_t seen = 0;              // the last delivery that it had; guard: the registry's lock
  subscription* next_one = nullptr;    // links: guard: the registry's lock
  subscription* prev_one = nullptr;
};

// What the handler may touch.
std::atomic<std::uint64_t> pending{0};  // written by the handler (release), taken by the thread (acquire)
std::atomic<int> wake_fd{-1};           // written once, before the first handler is installed
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

extern "C" void weft_note_signal(int signal) {
  int const kept = errno;
  pending.fetch_or(bit_of(signal), std::memory_order_release);  // S1
  std::uint64_t const one = 1;
  [[maybe_unused]] ssize_t const n = ::write(wake_fd.load(std::memory_order_relaxed), &one, sizeof one);
  errno = kept;
}

class registry {
 public:
  /// Never destroyed: the thread and late subscriptions outlive static destruction.
  static registry& of_process() {
    static auto* r = new registry;
    return *r;
  }

  /// Throws std::system_error; then it is not subscribed.
  void add(subscription& s) {
    int error = 0;
    {
      rt::guard hold(lock_);
      for (int signal = 1; signal <= highest_signal && error == 0; ++signal)
        if ((s.wanted & bit_of(signal)) != 0 && (error = want_locked(signal)) != 0)
          while (--signal != 0)
            if ((s.wanted & bit_of(signal)) != 0) unwant_locked(signal);
      if (error == 0) {
        s.seen = deliveries_;  // what is being delivered came before
        s.next_one = all_;
        if (all_ != nullptr) all_->prev_one = &s;
        all_ = &s;
        rt::sources.signal_subscriptions.fetch_add(1, std::memory_order_release);
      }
    }
    if (error != 0) throw std::system_error(error, std::generic_category(), "weft: cannot catch this signal");
  }

  void remove(subscription& s) noexcept {
    std::uint64_t again = 0;
    {
      rt::guard hold(lock_);
      (s.prev_one != nullptr ? s.prev_one->next_one : all_) = s.next_one;
      if (s.next_one != nullptr) s.next_one->prev_one = s.prev_one;
      rt::sources.signal_subscriptions.fetch_sub(1, std::memory_order_release);
      for (int signal = 1; signal <= highest_signal; ++signal) {
        if ((s.wanted & bit_of(signal)) == 0) continue;
        unwant_locked(signal);
        if (count_[signal] == 0 && take_locked(signal) && is_raised_again_locked(signal)) again |= bit_of(signal);
      }
      for (int signal = 0; s.raises_rest && detail::chan_try_recv(s.to, &signal) == chan_status::ok;)
        if (count_[signal] == 0 && is_raised_again_locked(signal)) again |= bit_of(signal);
    }
    for (int signal = 1; signal <= highest_signal; ++signal)
      if ((again & bit_of(signal)) != 0) ::kill(::getpid(), signal);  // S3
  }

 private:
  registry() {
    int const fd = rt::fault(rt::fault_kind::eventfd) ? -1 : rt::above_standard(::eventfd(0, EFD_CLOEXEC));
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "weft: cannot make the descriptor for signals");
    try {
      // A handler on the thread would be as good as any, but a program may count on its own threads.
      rt::signals_blocked const meanwhile;
      rt::start_detached([this, fd] { listen(fd); });
    } catch (std::system_error const& e) {
      ::close(fd);
      throw std::system_error(e.code(), "weft: cannot start the thread for signals");
    } catch (...) {
      ::close(fd);
      throw;
    }
    wake_fd.store(fd, std::memory_order_relaxed);
  }

  [[nodiscard]] int want_locked(int signal) noexcept WEFT_REQUIRES(lock_) {
    if (count_[signal] == 0) {
      struct sigaction ours{};
      ours.sa_handler = weft_note_signal;
      ours.sa_flags = SA_RESTART | SA_ONSTACK;
      sigemptyset(&ours.sa_mask);
      if (::sigaction(signal, &ours, &before_[signal]) != 0) return errno;
      replaced_ &= ~bit_of(signal);
    }
    ++count_[signal];
    return 0;
  }

  void unwant_locked(int signal) noexcept WEFT_REQUIRES(lock_) {
    if (--count_[signal] != 0) return;
    struct sigaction now{};
    if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == weft_note_signal)
      ::sigaction(signal, &before_[signal], nullptr);
    else replaced_ |= bit_of(signal);
  }

  /// Whether it had come. Acquire: what its sender's handler did is seen.
  bool take_locked(int signal) noexcept WEFT_REQUIRES(lock_) {
    return (pending.fetch_and(~bit_of(signal), std::memory_order_acquire) & bit_of(signal)) != 0;
  }

  [[nodiscard]] bool is_raised_again_locked(int signal) const noexcept WEFT_REQUIRES(lock_) {
    return (replaced_ & bit_of(signal)) == 0;
  }

  [[noreturn]] void listen(int fd) noexcept {
    rt::set_thread_name("weft-signals");
    rt::sources.threads.fetch_add(1, std::memory_order_release);
    for (;;) {
      std::uint64_t writes = 0;
      if (::read(fd, &writes, sizeof writes) < 0 && errno != EINTR) rt::fatal("the descriptor for signals was closed");
      for (int signal = 1; signal <= highest_signal; ++signal)
        if ((pending.load(std::memory_order_relaxed) & bit_of(signal)) != 0) deliver(signal);
    }
  }

  void deliver(int signal) noexcept {
    // Counts as a subscription: what it has collected it will wake, even if the last real one goes meanwhile.
    rt::sources.signal_subscriptions.fetch_add(1, std::memory_order_acq_rel);
    // In rounds, since the thread could tell nobody that there is no memory for a list of whatever length.
    std::array<rt::cancel_node*, most_at_once> due;
    std::size_t n = first_round(signal, due);
    for (;;) {
      for (std::size_t i = 0; i < n; ++i) {
        rt::cancel(*due[i], rt::cancel_kind::cancelled, nullptr);
        rt::drop(due[i]);
      }
      if (n != due.size()) break;
      rt::guard hold(lock_);
      bool wanted = true;
      n = deliver_some_locked(signal, due, wanted);
    }
    rt::sources.signal_subscriptions.fetch_sub(1, std::memory_order_acq_rel);
  }

  /// S2, and S3 if nobody wanted it: a round that is not the last has found somebody.
  std::size_t first_round(int signal, std::array<rt::cancel_node*, most_at_once>& due) noexcept {
    rt::guard hold(lock_);
    if (!take_locked(signal)) return 0;  // by the end of its last subscription
    ++deliveries_;
    bool wanted = false;
    std::size_t const n = deliver_some_locked(signal, due, wanted);
    if (!wanted && is_raised_again_locked(signal)) ::kill(::getpid(), signal);
    return n;
  }

  /// To those that have not had this delivery yet, until `due` is full of contexts to be cancelled: how many there are.
  std::size_t deliver_some_locked(int signal, std::array<rt::cancel_node*, most_at_once>& due, bool& wanted) noexcept
      WEFT_REQUIRES(lock_) {
    std::size_t n = 0;
    for (subscription* s = all_; s != nullptr && n < due.size(); s = s->next_one) {
      if ((s->wanted & bit_of(signal)) == 0 || std::exchange(s->seen, deliveries_) == deliveries_) continue;
      if (s->to != nullptr) {
        int number = signal;
        wanted |= detail::chan_try_send(s->to, &number) != chan_status::closed;
      } else if (rt::try_retain(*s->cancels)) {
        wanted = true;
        due[n++] = s->cancels;
      }
    }
    return n;
  }

  rt::ranked_lock lock_{rt::lock_rank::registry};
  subscription* all_ WEFT_GUARDED_BY(lock_) = nullptr;
  std::uint64_t deliveries_ WEFT_GUARDED_BY(lock_) = 0;
  unsigned count_[highest_signal + 1] WEFT_GUARDED_BY(lock_) = {};  // subscriptions a signal
  std::uint64_t replaced_ WEFT_GUARDED_BY(lock_) =
      0;  // bits of those whose handler was another's when the last subscription went
  struct sigaction before_[highest_signal + 1] WEFT_GUARDED_BY(lock_) = {};  // what stood there before the first
};

std::uint64_t bits_of(std::initializer_list<int> which) {
  std::uint64_t bits = 0;
  for (int const signal : which) {
    bool const fault = signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL;
    if (signal < 1 || signal > highest_signal || fault)
      throw std::system_error(EINVAL, std::generic_category(), "weft: cannot catch this signal");
    bits |= bit_of(signal);
  }
  return bits;
}

void end_subscription(subscription& s) noexcept {
  registry::of_process().remove(s);
  if (s.to != nullptr) detail::drop_ends(*s.to, detail::chan_core::one_sender);
  delete &s;
}

void end_of_context(rt::cancel_listener& l) noexcept { end_subscription(static_cast<subscription&>(l)); }
void end_of_receivers(detail::receivers_watcher& w) noexcept { end_subscription(static_cast<subscription&>(w)); }

receiver<int> subscribe(std::initializer_list<int> which, bool raises_rest) {
  auto s = std::make_unique<subscription>();
  s->wanted = bits_of(which);
  s->raises_rest = raises_rest;
  auto [tx, rx] = make_ends<int>(room_for_signals);
  s->to = detail::core_of(tx);
  registry::of_process().add(*s);
  detail::add_ends(*s->to, detail::chan_core::one_sender);
  s->gone = end_of_receivers;
  detail::watch_receivers(*s->to, *s);
  (void)s.release();  // to whoever drops the last receiver
  return rx;
}

}  // namespace

receiver<int> signals(std::initializer_list<int> which) { return subscribe(which, false); }

int wait_signal(std::initializer_list<int> which) {
  receiver<int> const from = subscribe(which, true);
  int const first = *from.recv();  // the subscription keeps a sender: it cannot be closed
  while (from.try_recv()) {
  }  // what has come to the channel beside it was caught as well; where the wait is cancelled it is raised again
  return first;
}

std::pair<context, cancel_fn> with_signals(context parent, std::initializer_list<int> which) {
  auto s = std::make_unique<subscription>();
  s->wanted = bits_of(which);
  auto made = with_cancel(std::move(parent));
  s->cancels = made.first.node();
  s->notify = end_of_context;
  s->release = end_of_context;
  registry::of_process().add(*s);
  if (rt::add_listener(*s->cancels, *s)) (void)s.release();
  else end_subscription(*s.release());  // cancelled already
  return made;
}

}  // namespace weft
