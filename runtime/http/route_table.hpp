// The routes of a router and its groups, as a trie of path segments.
//
//   add      the pattern is split at '/'; each segment leads to a child by its text, by being `{name}`, or by being `{name...}`.
//            Names belong to the route, not to the node: /user/{id} under GET and /user/{name} under POST share nodes.
//   freeze   once a server is made: each handler is wrapped in the middlewares of its group and of those around it. Done
//            late, so that use() counts for routes registered before it.
//            Of two patterns that share paths and methods one must be more specific, as in Go 1.22: match only paths that the
//            other matches too. Else the second is refused, so the order of registering never says who answers.
//   find     walks the path segment by segment: text first, then `{name}`, then `{name...}`, stepping back where a branch
//            leads nowhere: of the patterns that match, the most specific one is found first. A node counts only if it has the method, so that GET /a/b beside POST /a/{x} leaves POST /a/b to
//            the latter. No allocation but for escapes and the list of Allow.
//
// Paths are compared segment by segment after decoding, so an escaped slash (%2F) never separates segments.
// Rejected: a radix tree by characters (faster by nanoseconds beside a system call of microseconds, and it cannot decode).
#pragma once

#include "runtime/http/state.hpp"

#include <weft/http/router.hpp>

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace weft::rt {

/// One router of the tree of groups. Constant once the table is frozen.
struct route_scope {
  route_scope* parent = nullptr;
  std::string prefix;  // with those around it
  std::vector<http::middleware> middlewares;
};

struct route {
  std::string method;
  std::string pattern;
  std::vector<std::string> names;  // of the parameters, left to right
  http::handler handler;
  route_scope* scope;  // null: no pattern's, it answers 404 and 405
  bool streamed;       // called before the body is read
};

struct route_node {
  std::vector<std::pair<std::string, std::unique_ptr<route_node>>> literals;  // by length, then text
  std::unique_ptr<route_node> one;                                            // {name}
  std::unique_ptr<route_node> rest;                                           // {name...}
  std::vector<route> routes;
};

struct route_table {
  route_table();

  /// Each may throw std::invalid_argument, and std::logic_error once frozen.
  void add(route_scope& scope, std::string_view method, std::string_view pattern, http::handler handler, bool streamed);
  void use(route_scope& scope, http::middleware m);
  http::router& group(route_scope& scope, std::string_view prefix, http::middleware m);

  /// Idempotent, from any thread.
  void freeze();

  /// The route for q's method and raw_path, with q.params set; that of 404 or 405 if there is none. Once frozen.
  [[nodiscard]] route const& find(request_state& q) const;

  route_scope* outermost() noexcept { return &scopes_.front(); }

 private:
  void check_open(char const* call) const;
  static void wrap(route_node& node);
  static http::handler wrapped(http::handler h, route_scope const* scope);

  route_node root_;
  std::list<route_scope> scopes_;
  std::list<http::router> groups_;  // what group() returned; their handles own nothing
  route unmatched_{};               // answers 404 and 405
  std::atomic<bool> frozen_{false};
  std::once_flag freeze_once_;
};

}  // namespace weft::rt
