// Channels of all kinds between tasks and plain threads, by every way in and out, with closes, ends that are dropped and cancellations in
// between. A value that was sent is received once; or it was in the channel when the last who could receive left.
#include <weft/weft.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include "tests/stress/ledger.hpp"
#include "tests/stress/stress.hpp"

namespace weft::stress {
namespace {

struct move_failed : std::runtime_error {
  move_failed() : std::runtime_error("a move failed") {}
};

/// Counts its instances. Its moves fail now and then, and leave the source as it was.
class fragile {
 public:
  explicit fragile(item i) : value_(i) { ++alive; }
  fragile(fragile&& other) : value_(other.value_) {
    if (fails_every != 0 && moves.fetch_add(1, std::memory_order_relaxed) % fails_every == 0) throw move_failed();
    check(!std::exchange(other.empty_, true), "a value was moved twice");
    ++alive;
  }
  fragile& operator=(fragile&& other) noexcept {  // how a value goes back to its sender
    value_ = other.value_;
    empty_ = std::exchange(other.empty_, true);
    return *this;
  }
  ~fragile() { --alive; }

  [[nodiscard]] item value() const {
    check(!empty_, "a value was received that had been moved away");
    return value_;
  }

  static inline std::atomic<long> alive{0};
  static inline std::atomic<std::uint32_t> moves{0};
  static inline std::uint32_t fails_every = 0;

 private:
  item value_;
  bool empty_ = false;
};

constexpr std::size_t at_once = 8;  // so many values at most are taken at once

item value_of(item i) { return i; }
item value_of(std::unique_ptr<item> const& i) {
  check(i != nullptr, "an empty value was received");
  return *i;
}
item value_of(fragile const& i) { return i.value(); }

template <class T>
void make(std::optional<T>& at, item i) {
  if constexpr (std::is_same_v<T, std::unique_ptr<item>>) at = std::make_unique<item>(i);
  else at.emplace(i);
}

/// One attempt to send, in one of the forms; what it says is `ok` exactly if the value has been sent. Waits for ever in some.
template <class T>
chan_status send_somehow(sender<T> const& tx, T& v, random& chance) {
  switch (chance.below(8)) {
    case 0: return tx.try_send(std::move(v));
    case 1: return tx.send_for(std::move(v), chance.up_to(500us));
    case 2:
      return select(on_send(tx, std::move(v)), on_timeout(chance.up_to(500us))) == 0 ? chan_status::ok
                                                                                     : chan_status::timeout;
    case 3: return select(on_send(tx, std::move(v)), otherwise()) == 0 ? chan_status::ok : chan_status::full;
    case 4: return tx.send_for(std::move(v), std::chrono::hours::max());
    case 6:
      if constexpr (std::is_copy_constructible_v<T>) return tx.push(v) ? chan_status::ok : chan_status::closed;
      [[fallthrough]];
    case 5: select(on_send(tx, std::move(v))); return chan_status::ok;
    default: tx.send(std::move(v)); return chan_status::ok;
  }
}

/// Until all have been sent, or the channel is closed. Goes on where an exception has cut it off.
template <class T>
void produce(sender<T> const& tx, std::uint32_t me, std::uint32_t most, std::uint32_t& sent, std::optional<T>& next,
             random& chance) {
  while (sent < most) {
    if (!next) make(next, {me, sent});
    item const before = value_of(*next);
    check(before.producer == me && before.number == sent, "a value that was not sent has changed");
    try {
      chan_status const status = send_somehow(tx, *next, chance);
      if (status == chan_status::closed) return;
      if (status != chan_status::ok) {
        if (chance.one_in(4)) yield();
        continue;
      }
    } catch (closed_channel const&) {
      (void)value_of(*next);
      return;
    } catch (move_failed const&) {
      continue;
    }
    ++sent;
    next.reset();
    count();
  }
}

/// One attempt to receive. False: closed and drained.
template <class T>
bool receive_somehow(receiver<T> const& rx, ledger::page& page, random& chance) {
  auto const keep = [&](T const& v) { page.push_back(value_of(v)); };
  auto const take = [&](auto&& v) {
    if (v) keep(*v);
    return v || v.error() != chan_status::closed;
  };
  switch (chance.below(8)) {
    case 0: return take(rx.try_recv());
    case 1: return take(rx.recv_for(chance.up_to(500us)));
    case 2: {
      bool open = true;
      select(on_recv(rx, [&](std::optional<T> const& v) { v ? keep(*v) : void(open = false); }),
             on_timeout(chance.up_to(500us)));
      return open;
    }
    case 3: {
      bool open = true;
      select(on_recv(rx, [&](std::optional<T> const& v) { v ? keep(*v) : void(open = false); }), otherwise());
      return open;
    }
    case 4: {
      std::vector<T> many;
      many.reserve(at_once);  // so that what is in it already is not moved again
      bool open = true;
      try {
        open = rx.recv_many(many, chance.between(std::size_t{1}, at_once)) != 0;
      } catch (move_failed const&) {
      }
      for (T const& v : many) keep(v);
      return open;
    }
    case 5: {
      int few = chance.between(1, 5);
      for (T const& v : rx) {
        keep(v);
        if (--few == 0) return true;
      }
      return false;
    }
    default: {
      std::optional<T> const v = rx.recv();
      if (v) keep(*v);
      return v.has_value();
    }
  }
}

template <class T>
void consume(receiver<T> const& rx, ledger::page& page, std::size_t most, random& chance) {
  for (std::size_t n = 0; n < most; ++n) {
    try {
      if (!receive_somehow(rx, page, chance)) return;
    } catch (move_failed const&) {
    }
  }
}

enum class ending { finish, close, leave };

template <class T>
void exchange(round& r) {
  with_runtime(r, [&](runtime& rt) {
    random& chance = r.chance;
    auto const capacity = chance.pick<std::size_t>({0, 0, 1, 2, 7, 64});
    auto const producers = chance.between(1U, 5), consumers = chance.between(1U, 4), most = chance.between(10U, 400);
    auto const how = chance.pick({ending::finish, ending::close, ending::leave});
    auto [tx, rx] = make_ends<T>(capacity);
    ledger book(producers);
    {
      crew all(rt, chance);
      for (std::uint32_t p = 0; p < producers; ++p)
        all.start([out = tx, p, most, &sent = book.sent_by(p), mine = chance.branch()]() mutable {
          std::optional<T> next;
          in_pieces(mine, [&] { produce(out, p, most, sent, next, mine); });
        });
      for (std::uint32_t c = 0; c < consumers; ++c) {
        std::size_t const takes = how == ending::leave ? chance.below(most) : ~std::size_t{0};
        all.start([in = rx, takes, &page = book.open_page(), mine = chance.branch()]() mutable {
          in_pieces(mine, [&] { consume(in, page, takes, mine); });
        });
      }
      if (how == ending::close)
        all.start([out = tx, after = chance.up_to(5ms)] {
          sleep_for(after);
          out.close();
        });
      tx = {};
      if (how == ending::leave) rx = {};
      all.cancel_some(producers + consumers, 5ms);
      if (how != ending::leave) consume(rx, book.open_page(), ~std::size_t{0}, chance);
    }
    // A value that was on its way to a receiver, and went back, may lie there after others have found the channel drained.
    if (how != ending::leave) consume(rx, book.open_page(), ~std::size_t{0}, chance);
    rx = {};
    bool const goes_back =
        std::is_same_v<T, fragile> && fragile::fails_every != 0;  // then a receiver may overtake another
    book.settle(!goes_back, how == ending::leave ? capacity + (goes_back ? consumers * at_once : 0) : 0);
  });
  check_equal(static_cast<std::uint64_t>(fragile::alive.load()), 0, "values that nobody has");
}

}  // namespace

void channels(round& r) {
  switch (r.chance.below(4)) {
    case 0: return exchange<item>(r);
    case 1: return exchange<std::unique_ptr<item>>(r);
    default: fragile::fails_every = r.chance.pick({0U, 7U, 50U, 1000U}); return exchange<fragile>(r);
  }
}

}  // namespace weft::stress
