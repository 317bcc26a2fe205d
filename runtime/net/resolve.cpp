// Names. The system's resolver blocks for seconds and cannot be interrupted, so it runs on threads of its own: at most
// `most_threads`, each started when there is a name to look up and gone when there is none. A task waits for its look-up as
// for anything else; if it gives up (deadline, cancellation), the answer finds nobody and is dropped, and a look-up that has not begun
// does not begin.
//
// "localhost" is this machine, as RFC 6761 says, and is not looked up.
#include <algorithm>
#include <deque>
#include <memory>
#include <new>
#include <system_error>

#include <netdb.h>
#include <netinet/in.h>

#include "runtime/base/lasting.hpp"
#include "runtime/net/address.hpp"
#include "runtime/net/operation.hpp"
#include "runtime/platform/thread.hpp"
#include "runtime/sched/completion.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sched/simulated_network.hpp"

namespace weft::net {

namespace {

class resolver_errors final : public std::error_category {
 public:
  [[nodiscard]] char const* name() const noexcept override { return "weft.resolver"; }
  [[nodiscard]] std::string message(int code) const override { return ::gai_strerror(code); }
  [[nodiscard]] std::error_condition default_error_condition(int code) const noexcept override {
    switch (code) {
      case EAI_AGAIN: return std::errc::resource_unavailable_try_again;
      case EAI_MEMORY: return std::errc::not_enough_memory;
      default: return {code, *this};
    }
  }
};

constinit rt::lasting<resolver_errors> const of_resolver;

std::error_code resolver_error(int code, int system_error) {
  if (code == EAI_SYSTEM) return {system_error, std::system_category()};
  return {code, of_resolver.value};
}

/// One name that is being looked up. Shared by who asks and the thread that answers.
struct lookup {
  std::string host;
  rt::completion done;
  // Written by the resolver's thread before `done`, read after it.
  std::vector<endpoint> found;
  std::error_code error;
};

void look_up(lookup& request) noexcept {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;  // else each address comes once a kind of socket
  addrinfo* list = nullptr;
  int const code = ::getaddrinfo(request.host.c_str(), nullptr, &hints, &list);
  if (code != 0) {
    request.error = resolver_error(code, errno);
    return;
  }
  try {
    for (addrinfo const* a = list; a != nullptr; a = a->ai_next) {
      if (endpoint e = endpoint::from_sockaddr(a->ai_addr, a->ai_addrlen)) request.found.push_back(e);
    }
    if (request.found.empty()) request.error = resolver_error(EAI_NONAME, 0);
  } catch (std::bad_alloc const&) {
    request.error = std::make_error_code(std::errc::not_enough_memory);
  }
  ::freeaddrinfo(list);
}

class resolver_threads {
 public:
  /// Throws std::bad_alloc; an error if not one thread could be started.
  std::error_code ask(std::shared_ptr<lookup> request) {
    bool start = false;
    {
      rt::guard<rt::object_lock> hold(lock_);
      waiting_.push_back(std::move(request));
      if ((start = threads_ < most_threads)) ++threads_;
    }
    if (!start) return {};
    std::error_code error;
    try {
      rt::signals_blocked const meanwhile;
      rt::start_detached([this] { serve(); });
      return {};
    } catch (std::system_error const& e) {
      error = e.code();
    } catch (std::bad_alloc const&) {
      error = std::make_error_code(std::errc::not_enough_memory);
    }
    std::deque<std::shared_ptr<lookup>> stranded;
    {
      rt::guard<rt::object_lock> hold(lock_);
      if (--threads_ != 0) return {};  // another thread will come to it
      stranded.swap(waiting_);
    }
    for (auto& request_left : stranded) {
      request_left->error = error;
      request_left->done.complete();
    }
    return {};
  }

 private:
  static constexpr unsigned most_threads = 16;

  void serve() noexcept {
    while (auto request = next()) {
      look_up(*request);
      request->done.complete();
    }
  }

  /// What nobody waits for any more is passed over: a name server that is silent must not hold up the names behind it.
  std::shared_ptr<lookup> next() noexcept {
    rt::guard<rt::object_lock> hold(lock_);
    while (!waiting_.empty()) {
      auto request = std::move(waiting_.front());
      waiting_.pop_front();
      if (request.use_count() > 1) return request;
    }
    --threads_;
    return nullptr;
  }

  rt::object_lock lock_;
  std::deque<std::shared_ptr<lookup>> waiting_ WEFT_GUARDED_BY(lock_);
  unsigned threads_ WEFT_GUARDED_BY(lock_) = 0;
};

resolver_threads& resolver() {
  static auto& threads = *new resolver_threads;  // never destroyed: a thread may come back from the system after main
  return threads;
}

result<std::vector<endpoint>> wait_for_name(std::string const& host,
                                            std::int64_t until) WEFT_NO_THREAD_SAFETY_ANALYSIS {
  rt::waiter& self = rt::cancellation_point();
  auto request = std::make_shared<lookup>();
  request->host = host;
  if (std::error_code e = resolver().ask(request)) return fail(e);
  rt::completion& done = request->done;
  done.lock.lock();
  if (done.done.load(std::memory_order_relaxed)) {
    done.lock.unlock();
  } else {
    rt::wait_record record;
    switch (rt::wait_in(self, done.waiters, done.lock, record, until, rt::wait_reason::blocking_call, &done)) {
      case rt::how::timeout: return fail(std::errc::timed_out);
      case rt::how::cancel: rt::throw_cancelled();
      default: break;
    }
  }
  if (request->error) return fail(request->error);
  return std::move(request->found);
}

/// The one spelling of a name that can be compared: case does not matter, nor the point of the root.
std::string canonical(std::string name) {
  if (name.ends_with('.')) name.pop_back();
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return name;
}

endpoint with_port(endpoint e, std::uint16_t port) noexcept {
  sockaddr_storage a{};
  std::copy_n(static_cast<unsigned char const*>(e.data()), e.size(), reinterpret_cast<unsigned char*>(&a));
  // The port lies at the same place in both families.
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  reinterpret_cast<sockaddr_in&>(a).sin_port = htons(port);
  return endpoint::from_sockaddr(&a, e.size());
}

}  // namespace

result<std::vector<endpoint>> resolve_until(std::string_view address, bool listening, std::int64_t until) {
  auto const parts = split_address(address);
  if (!parts) return fail(parts.error());
  auto const numeric = [&](char const* host) { return numeric_endpoint(host, parts->port); };
  if (parts->numeric) return std::vector{numeric_endpoint(parts->host, parts->port)};
  if (parts->host.empty() && listening) return std::vector{numeric("::"), numeric("0.0.0.0")};
  std::string const name = canonical(parts->host);
  if (parts->host.empty() || name == "localhost") return std::vector{numeric("127.0.0.1"), numeric("::1")};
  if (rt::current_simulation() != nullptr) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(parts->port);
    a.sin_addr = rt::network_of_run().address_of(name);
    return std::vector{endpoint::from_sockaddr(&a, sizeof a)};
  }
  auto found = wait_for_name(parts->host, until);
  if (found) {
    for (endpoint& e : *found) e = with_port(e, parts->port);
  }
  return found;
}

result<std::vector<endpoint>> resolve(std::string_view host_and_port) {
  (void)rt::cancellation_point();  // also for a number, which asks nobody
  return resolve_until(host_and_port, false, rt::never);
}

}  // namespace weft::net
