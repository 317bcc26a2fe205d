// Which handler answers which method and path.
//
// A pattern is a path whose segments are literal, `{name}` (one segment, not empty), or at the end `{name...}` (all that
// is left, which may be empty). A literal segment wins over `{name}`, and that over `{name...}`. GET answers HEAD too.
// The method "*" answers what no other route of that pattern does.
//
// A router is a handle: copies share their routes. Once a server has been made of it the routes are fixed, and
// registering throws std::logic_error.
#pragma once

#include <weft/http/message.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace weft::rt {
struct route_table;
struct route_scope;
}  // namespace weft::rt

namespace weft::http {

using middleware = std::function<handler(handler)>;

/// A handler that takes a body_reader as well is called before the body has been read: see body_reader.
template <class H>
concept streaming = !std::invocable<H&, request&> && std::invocable<H&, request&, body_reader&>;

/// What a handler may return besides a response: an int is the status of an empty one, text becomes 200 text/plain, nothing 204.
template <class H>
concept routable = std::invocable<H&, request&> || std::invocable<H&> || streaming<H>;

class router {
 public:
  router();

  /// Wraps every route of this router and its groups, whether registered before or after, and for the outermost router also the
  /// answers 404 and 405. The first one given is the outermost.
  void use(middleware m);
  /// A router whose patterns begin with `prefix` and whose routes `m` wraps inside this router's. The reference is good
  /// as long as any copy of the outermost router lives.
  router& group(std::string_view prefix, middleware m = {});

  /// Each throws std::invalid_argument if the pattern is malformed, or if another route already answers the same requests.
  template <routable H>
  void get(std::string_view pattern, H&& h) {
    add("GET", pattern, make_handler(std::forward<H>(h)), streaming<H>);
  }
  template <routable H>
  void post(std::string_view pattern, H&& h) {
    add("POST", pattern, make_handler(std::forward<H>(h)), streaming<H>);
  }
  template <routable H>
  void handle(std::string_view method, std::string_view pattern, H&& h) {
    add(method, pattern, make_handler(std::forward<H>(h)), streaming<H>);
  }

 private:
  friend struct rt::http_access;
  friend struct rt::route_table;
  router(std::shared_ptr<rt::route_table> table, rt::route_scope* scope) : table_(std::move(table)), scope_(scope) {}
  void add(std::string_view method, std::string_view pattern, handler h, bool streamed);

  template <class F>
  static response answer(F&& f) {
    using result = std::invoke_result_t<F>;
    if constexpr (std::is_void_v<result>) {
      std::forward<F>(f)();
      return response(204);
    } else if constexpr (std::convertible_to<result, response> &&
                         (!std::is_arithmetic_v<result> || std::same_as<result, int>)) {
      return std::forward<F>(f)();
    } else {
      return response(200, std::string(std::forward<F>(f)()));
    }
  }

  template <class H>
  static handler make_handler(H&& h) {
    using closure = std::decay_t<H>;
    if constexpr (!std::copy_constructible<closure>) {  // std::function copies: a move-only closure is shared
      return make_handler([p = std::make_shared<closure>(std::forward<H>(h))](request& q) {
        if constexpr (std::invocable<closure&, request&>) return (*p)(q);
        else if constexpr (streaming<closure>) return read_with(*p, q);
        else return (*p)();
      });
    } else if constexpr (std::invocable<closure&, request&>) {
      if constexpr (std::same_as<std::invoke_result_t<closure&, request&>, response>)
        return handler(std::forward<H>(h));
      else
        return [f = closure(std::forward<H>(h))](request& q) mutable {
          return answer([&]() -> decltype(auto) { return f(q); });
        };
    } else if constexpr (streaming<closure>) {
      return [f = closure(std::forward<H>(h))](request& q) mutable {
        return answer([&]() -> decltype(auto) { return read_with(f, q); });
      };
    } else {
      return [f = closure(std::forward<H>(h))](request&) mutable { return answer(f); };
    }
  }

  template <class F>
  static decltype(auto) read_with(F& f, request& q) {
    body_reader body = q.reader();
    return f(q, body);
  }

  std::shared_ptr<rt::route_table> table_;
  rt::route_scope* scope_;
};

}  // namespace weft::http
