// Selects over several channels, both ways at once, with time, contexts, joins and otherwise, in tasks and plain threads, while channels are
// closed and tasks cancelled. Exactly one case happens: what was sent by one is received once, and what was not sent is still there.
#include <weft/weft.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tests/stress/ledger.hpp"
#include "tests/stress/stress.hpp"

namespace weft::stress {
namespace {

item value_of(item i) { return i; }
item value_of(std::unique_ptr<item> const& i) {
  check(i != nullptr, "an empty value was received, or a value is gone that was not sent");
  return *i;
}

/// Sends `most` values to whichever channel takes them and receives, until all channels are closed to it both ways. Waits that are long are
/// cut short by nobody: there must be one party that waits for all channels at once, and others may only wait for a few if they also send.
template <class T>
class party {
 public:
  party(std::vector<sender<T>> outs, std::vector<receiver<T>> ins, std::uint32_t me, std::uint32_t most, ledger& book,
        random chance, bool waits_for_all = false)
      : outs_(std::move(outs)),
        ins_(std::move(ins)),
        me_(me),
        most_(most),
        sent_(&book.sent_by(me)),
        chance_(chance),
        waits_for_all_(waits_for_all) {
    for (std::size_t i = 0; i < ins_.size(); ++i)
      pages_.push_back(&book.open_page());  // there is an order in each channel
  }

  void operator()() {
    in_pieces(chance_, [&] {
      while (step()) {
      }
    });
  }

 private:
  bool step() {
    if (*sent_ == most_) outs_.clear();
    std::erase_if(outs_, [](auto const& o) { return !o; });
    if (outs_.empty() && std::ranges::none_of(ins_, [](auto const& i) { return static_cast<bool>(i); })) return false;
    if (!next_) make({me_, *sent_});
    bool happened = false;
    try {
      happened = attempt();
    } catch (closed_channel const&) {
      auto const closed = std::erase_if(outs_, [](auto const& o) { return o.closed(); });
      check(closed != 0, "closed_channel, and no channel is closed");
    }
    if (happened) {
      ++*sent_;
      next_.reset();
      count();
    } else if (next_) {
      item const same = value_of(*next_);
      check(same.producer == me_ && same.number == *sent_, "a value that was not sent has changed");
    }
    return true;
  }

  /// True: the value was sent.
  bool attempt() {
    if (waits_for_all_) return by_selector({});
    sender<T> const a = some_out(), b = some_out();
    std::size_t const i = some_in(), j = some_in();
    receiver<T> const nil, from_i = ins_.empty() ? nil : ins_[i], from_j = ins_.empty() ? nil : ins_[j];
    bool const on_task = this_task::id() != task_id{};
    bool sent = false;
    auto const did = [&sent] { sent = true; };
    T& v = *next_;
    switch (chance_.below(on_task ? 8 : 6)) {
      case 0: select(on_send(a, std::move(v), did), on_recv(from_i, into(i)), on_timeout(chance_.up_to(300us))); break;
      case 1:
        select(biased, on_recv(from_j, into(j)), on_send(a, std::move(v), did), on_send(b, std::move(v), did),
               on_deadline(now() + chance_.up_to(300us)));
        break;
      case 2:
        select(on_send(a, std::move(v), did), on_recv(from_i, into(i)), on_recv(from_j, into(j)), otherwise());
        break;
      case 3: {
        bool const both = chance_.one_in(2);
        select(when(both, on_recv(from_i, into(i))), on_recv(nil), on_send(a, v, did), on_timeout(both ? 1h : 50us));
        break;
      }
      case 4: return by_selector(a);
      case 5:
        select(on_send(b, v, did), on_recv(from_i, into(i)), on_recv(from_j, into(j)),
               on_timeout(chance_.up_to(300us)));
        break;
      case 6: {
        context const here = this_task::context();
        timer const soon(chance_.up_to(300us));
        select(on_send(a, std::move(v), did), on_recv(from_i, into(i)), on_recv(soon),
               on_recv(after(chance_.up_to(1ms))),
               on_done(here, [&] { check(here.cancelled(), "the case of a context that is not cancelled happened"); }));
        break;
      }
      default: {
        auto child = spawn([takes = chance_.up_to(200us)] {
          sleep_for(takes);
          return 7;
        });
        bool joined = false;
        select(on_join(child,
                       [&](int result) {
                         joined = true;
                         check(result == 7, "a join in select gave another result");
                       }),
               on_send(a, std::move(v), did), on_recv(from_j, into(j)));
        check(child.joinable() != joined, "a select joined without its case having happened, or the reverse");
      }
    }
    return sent;
  }

  /// The selector owns the value meanwhile; the last one, if it was not sent, is made anew.
  bool by_selector(sender<T> const& out) {
    selector cases;
    bool sent = false, closed = false;
    for (std::size_t i = 0; i < ins_.size(); ++i)
      cases.recv(ins_[i], [this, i, &closed](std::optional<T> const& v) {
        into(i)(v);
        closed = closed || !v;
      });
    std::size_t const sending = cases.send(out, std::move(*next_), [&] { sent = true; });
    next_.reset();
    if (!waits_for_all_) cases.timeout(chance_.up_to(300us));
    for (int n = chance_.between(1, 4); n > 0 && !closed; --n) {
      std::size_t const which = cases.wait();
      check((which == sending) == sent, "a selector sent, and says that another case happened");
      if (!sent || n == 1) continue;
      sent = false;
      ++*sent_;
      if (*sent_ == most_) return false;
      make({me_, *sent_});
      cases.rearm(sending, std::move(*next_));
      next_.reset();
    }
    return sent;
  }

  auto into(std::size_t i) {
    return [this, i](std::optional<T> const& v) {
      if (v) pages_[i]->push_back(value_of(*v));
      else ins_[i] = {};
    };
  }
  void make(item i) {
    if constexpr (std::is_same_v<T, item>) next_ = i;
    else next_ = std::make_unique<item>(i);
  }
  sender<T> some_out() { return outs_.empty() ? sender<T>() : outs_[chance_.below(outs_.size())]; }
  /// One that is open, if there is any.
  std::size_t some_in() {
    std::size_t i = ins_.empty() ? 0 : chance_.below(ins_.size());
    for (std::size_t n = ins_.size(); n > 0 && !ins_[i]; --n) i = (i + 1) % ins_.size();
    return i;
  }

  std::vector<sender<T>> outs_;   // nil, and then gone: closed
  std::vector<receiver<T>> ins_;  // nil: closed
  std::vector<ledger::page*> pages_;
  std::uint32_t me_, most_;
  std::uint32_t* sent_;
  std::optional<T> next_;
  random chance_;
  bool waits_for_all_;
};

template <class T>
void exchange(round& r) {
  with_runtime(r, [&](runtime& rt) {
    random& chance = r.chance;
    std::vector<sender<T>> outs;
    std::vector<receiver<T>> ins;
    for (auto n = chance.between(1U, 5); n > 0; --n) {
      auto [tx, rx] = make_ends<T>(chance.pick<std::size_t>({0, 0, 1, 3, 30}));
      outs.push_back(std::move(tx));
      ins.push_back(std::move(rx));
    }
    auto const parties = chance.between(1U, 7);
    ledger book(parties + 1);
    {
      crew all(rt, chance);
      for (std::uint32_t p = 0; p < parties; ++p) {
        bool const sends = !chance.one_in(4), receives = chance.one_in(2);
        all.start(party<T>(sends ? outs : std::vector<sender<T>>(), receives ? ins : std::vector<receiver<T>>(), p,
                           chance.between(1U, 200), book, chance.branch()));
      }
      if (chance.one_in(2))
        all.start([outs, mine = chance.branch()]() mutable {
          for (auto const& o : outs) {
            sleep_for(mine.up_to(3ms));
            if (mine.one_in(2)) o.close();
          }
        });
      outs.clear();
      all.cancel_some(parties, 5ms);
      party<T>({}, ins, parties, 0, book, chance.branch(), true)();
    }
    book.settle(true, 0);
  });
}

}  // namespace

void selects(round& r) {
  if (r.chance.one_in(2)) exchange<item>(r);
  else exchange<std::unique_ptr<item>>(r);
}

}  // namespace weft::stress
