// The public face of cancel_node: handles, done channels, values, scopes, and the bridges to std::stop_token.

#include <weft/context.hpp>
#include <weft/detail/guest.hpp>
#include <weft/detail/simulated.hpp>

#include <charconv>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <typeinfo>

#include "runtime/base/check.hpp"
#include "runtime/chan/channel.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/worker.hpp"

namespace weft {

namespace {

/// The root of plain threads that belong to no runtime. Never cancelled, never destroyed.
rt::cancel_node& nowhere() {
  static auto* node = [] {
    auto* n = new rt::cancel_node(nullptr, nullptr, false);
    n->is_root = true;
    return n;
  }();
  return *node;
}

rt::scheduler* current_scheduler() noexcept {
  rt::worker* w = rt::current_worker();
  return w != nullptr ? w->sched : nullptr;
}

/// The current context as a parent to derive from. A task that a handle can cancel derives from its own context, so that the
/// cancellation reaches what it derives.
rt::cancel_node& current_node() {
  rt::task* t = rt::current_task();
  if (t == nullptr) return nowhere();
  if (!t->in_scope && t->has_handle) return rt::own_context_of(*t);
  return *t->current_context();
}

context share(rt::cancel_node& n) noexcept {
  rt::retain(&n);
  return context(&n);
}

/// Whether one name is one type in all files, as the Itanium ABI mangles it: identifiers alone, none of them an unnamed namespace. Types in functions, lambdas'
/// and those of templates that take them may have one name in two files; GCC's type_info tells these apart, Clang's does not.
bool is_plain(std::string_view name) noexcept {
  if (name.starts_with('N') && name.ends_with('E')) name = name.substr(1, name.size() - 2);
  while (!name.empty()) {
    std::size_t length = 0;
    auto const [end, error] = std::from_chars(name.data(), name.data() + name.size(), length);
    name.remove_prefix(static_cast<std::size_t>(end - name.data()));
    if (error != std::errc() || length > name.size() || name.starts_with("_GLOBAL__N")) return false;
    name.remove_prefix(length);
  }
  return true;
}

/// One key, named in one library or in two.
bool same_key(detail::context_key_name const& a, detail::context_key_name const& b) noexcept {
  if (&a == &b) return true;
  return a.type != nullptr && b.type != nullptr && *a.type == *b.type && is_plain(a.type->name());
}

/// Whose a context below `parent` is: the caller's runtime's, on a plain thread the parent's, which may be gone (guest.cpp).
rt::scheduler* scheduler_below(rt::cancel_node const& parent) noexcept {
  rt::scheduler* s = current_scheduler();
  return s != nullptr ? s : parent.sched;
}

}  // namespace

namespace detail {

void retain_context(rt::cancel_node* n) noexcept { rt::retain(n); }
void release_context(rt::cancel_node* n) noexcept { rt::drop(n); }

rt::cancel_node* context_with_value(rt::cancel_node* parent, context_key_name const* key, std::shared_ptr<void> value) {
  rt::cancel_node* n = rt::make_context(scheduler_below(*parent), parent);
  n->key = key;
  n->value = std::move(value);
  return n;
}

void* context_value(rt::cancel_node* from, context_key_name const* key) noexcept {
  for (rt::cancel_node* n = from; n != nullptr; n = n->parent)
    if (n->key != nullptr && same_key(*n->key, *key)) return n->value.get();
  return nullptr;
}

bool ended_by_deadline_of(context const& c, cancelled const& e) noexcept {
  // What a cancellation reaches has been marked from the top down: the first node above that says so is where it began.
  rt::cancel_node* n = e.node();
  while (n != nullptr && n->is_cancelled_for_all() && !n->started_here) n = n->inherits ? n->parent : nullptr;
  return n == c.node() && c.node()->err() == rt::cancel_kind::timed_out;
}

std::stop_token task_stop_token() { return this_task::context().stop_token(); }

}  // namespace detail

context context::background() {
  rt::scheduler* s = current_scheduler();
  return share(s != nullptr ? s->root() : nowhere());
}

// ---- done -----------------------------------------------------------------------------------------------------------

receiver<unit> context::done() const {
  rt::cancel_node& n = *node_;
  void* core = n.done_channel.load(std::memory_order_acquire);
  if (core == nullptr) {
    // The node keeps both ends, so that the channel is closed by cancellation alone, not by the last receiver's going.
    detail::chan_core* fresh = detail::make_core(detail::ops_of<unit>, 0);
    detail::mark_done_channel(*fresh);
    {
      rt::guard hold(n.lock);
      core = n.done_channel.load(std::memory_order_relaxed);
      if (core == nullptr) {
        n.close_done = [](void* c) noexcept { detail::chan_close(*static_cast<detail::chan_core*>(c)); };
        n.release_done = [](void* c) noexcept {
          detail::drop_ends(*static_cast<detail::chan_core*>(c), detail::both_ends);
        };
        if (n.kind != rt::cancel_kind::none) n.close_done(fresh);
        n.done_channel.store(fresh, std::memory_order_release);
        core = std::exchange(fresh, nullptr);
      }
    }
    if (fresh != nullptr) detail::drop_ends(*fresh, detail::both_ends);
  }
  auto* c = static_cast<detail::chan_core*>(core);
  detail::add_ends(*c, detail::chan_core::one_receiver);
  return receiver<unit>(c);
}

bool context::cancelled() const noexcept {
  detail::preemption_point();  // a program may poll it
  return node_->is_cancelled_for_all();
}

void context::throw_if_cancelled() const {
  if (cancelled()) throw weft::cancelled(node_);
}

std::error_code context::err() const {
  switch (node_->err()) {
    case rt::cancel_kind::none: break;
    case rt::cancel_kind::cancelled: return std::make_error_code(std::errc::operation_canceled);
    case rt::cancel_kind::timed_out: return std::make_error_code(std::errc::timed_out);
  }
  return {};
}

std::exception_ptr context::cause() const { return node_->cause_now(); }

std::optional<time_point> context::deadline() const {
  if (node_->deadline == rt::never) return std::nullopt;
  return time_point(std::chrono::nanoseconds(node_->deadline));
}

void cancel_fn::operator()(std::exception_ptr cause) const {
  if (of_ == nullptr) return;
  detail::preemption_point();
  rt::cancel(*of_, rt::cancel_kind::cancelled, std::move(cause));
  rt::disarm_deadline(*of_);
  detail::preemption_point();
}

// ---- deriving -------------------------------------------------------------------------------------------------------

std::pair<context, cancel_fn> with_cancel(context parent) {
  context c(rt::make_context(scheduler_below(*parent.node()), parent.node()));
  return {c, cancel_fn(c)};
}
std::pair<context, cancel_fn> with_cancel() { return with_cancel(share(current_node())); }

std::pair<context, cancel_fn> with_deadline(context parent, time_point at) {
  rt::cancel_node& up = *parent.node();
  detail::guest const in(up.sched);
  context c(rt::make_context_until(*in.scheduler(), &up, detail::deadline_at(at)));
  return {c, cancel_fn(c)};
}
std::pair<context, cancel_fn> with_deadline(time_point at) { return with_deadline(share(current_node()), at); }

context without_cancel(context const& parent) {
  return context(rt::make_context(scheduler_below(*parent.node()), parent.node(), false));
}

// ---- in force -------------------------------------------------------------------------------------------------------

namespace this_task {
weft::context context() { return share(current_node()); }
}  // namespace this_task

scoped_context::scoped_context(context c) : in_force_(std::move(c)), before_(nullptr) {
  rt::task* t = rt::current_task();
  if (t == nullptr) rt::fatal("weft::scoped_context made outside of a task");
  if (t->has_handle) (void)rt::own_context_of(*t);  // a handle's cancel must not take this block's waits for its own
  before_ = t->set_scope(in_force_.node());
}

scoped_context::~scoped_context() {
  rt::task* t = rt::current_task();
  if (t == nullptr || !t->in_scope || t->scoped != in_force_.node())
    rt::fatal("weft::scoped_context destroyed out of order or by another task");
  t->set_scope(before_);
  // The task may not stay registered with a context that this block alone kept alive.
  rt::unregister_from(*t, in_force_.node());
}

uncancellable::uncancellable() noexcept {
  if (rt::task* t = rt::current_task()) ++t->shield;
}
uncancellable::~uncancellable() {
  if (rt::task* t = rt::current_task()) --t->shield;
}

namespace detail {
cleaning_up::cleaning_up() noexcept {
  if (rt::task* t = rt::current_task()) ++t->cleaning_up;
}
cleaning_up::~cleaning_up() {
  if (rt::task* t = rt::current_task()) --t->cleaning_up;
}

context inherited_context() {
  rt::task* t = rt::current_task();
  context current = share(current_node());
  return t != nullptr && rt::is_cleaning_up(*t) ? without_cancel(current) : current;
}
}  // namespace detail

// ---- std::stop_token ------------------------------------------------------------------------------------------------

namespace {
struct stop_bridge : rt::cancel_listener {
  std::stop_source source;
};

/// The token of the node's bridge, if one stands and will be told. No token comes from a cancelled node: nobody would stop it.
std::optional<std::stop_token> token_of_bridge(rt::cancel_node& n) noexcept {
  rt::guard const hold(n.lock);
  if (n.stop_bridge == nullptr || n.kind != rt::cancel_kind::none) return std::nullopt;
  return static_cast<stop_bridge*>(n.stop_bridge)->source.get_token();
}
}  // namespace

// One bridge a node, however many tasks under it take a token: the node would keep each of them to its end.
std::stop_token context::stop_token() const {
  if (auto token = token_of_bridge(*node_)) return *std::move(token);
  auto bridge = std::make_unique<stop_bridge>();
  std::stop_token token = bridge->source.get_token();
  bridge->notify = [](rt::cancel_listener& l) noexcept {
    std::unique_ptr<stop_bridge> const b(static_cast<stop_bridge*>(&l));
    b->source.request_stop();
  };
  bridge->release = [](rt::cancel_listener& l) noexcept { delete static_cast<stop_bridge*>(&l); };
  if (rt::add_listener(*node_, *bridge)) {
    // Of two that come at once the later one serves those who follow; both are told. Cancelled meanwhile: it may be gone.
    rt::cancel_listener* const standing = bridge.release();
    rt::guard const hold(node_->lock);
    if (node_->kind == rt::cancel_kind::none) node_->stop_bridge = standing;
  } else {
    bridge->source.request_stop();
  }
  return token;
}

context context::from(std::stop_token token) {
  rt::scheduler* s = current_scheduler();
  context c(rt::make_context(s, s != nullptr ? &s->root() : nullptr));
  if (!token.stop_possible()) return c;
  // The callback lives in the node and does not count as a reference to it: it may run while the last one goes.
  auto on_stop = [n = c.node()] {
    if (!rt::try_retain(*n)) return;
    rt::cancel(*n, rt::cancel_kind::cancelled, nullptr);
    rt::drop(n);
  };
  using callback = std::stop_callback<decltype(on_stop)>;
  c.node()->value = std::make_shared<callback>(std::move(token), std::move(on_stop));
  return c;
}

}  // namespace weft
