// Routes: registering, and finding one for a request. See route_table.hpp.
#include "runtime/http/route_table.hpp"

#include <algorithm>
#include <span>
#include <stdexcept>

namespace weft::rt {

namespace {

enum class segment_kind { text, one, rest };
struct segment {
  segment_kind kind;
  std::string_view text;  // or the parameter's name
};

[[noreturn]] void malformed(std::string_view pattern, char const* why) {
  throw std::invalid_argument("weft::http::router: pattern '" + std::string(pattern) + "': " + why);
}

std::vector<segment> split_pattern(std::string_view pattern) {
  if (!pattern.starts_with('/')) malformed(pattern, "must begin with '/'");
  std::vector<segment> segments;
  std::string_view left = pattern.substr(1);
  for (bool more = true; more;) {
    auto const slash = left.find('/');
    std::string_view s = left.substr(0, slash);
    more = slash != left.npos;
    left.remove_prefix(more ? slash + 1 : left.size());
    if (!s.starts_with('{')) {
      if (s.find_first_of("{}") != s.npos) malformed(pattern, "a parameter must be a whole segment: /{name}/");
      segments.push_back({segment_kind::text, s});
      continue;
    }
    if (!s.ends_with('}')) malformed(pattern, "a parameter must be a whole segment: /{name}/");
    s = s.substr(1, s.size() - 2);
    bool const rest = s.ends_with("...");
    if (rest) s.remove_suffix(3);
    if (s.empty() || s.find_first_of("{}.") != s.npos)
      malformed(pattern, "a parameter needs a name: {name} or {name...}");
    if (rest && more) malformed(pattern, "{name...} must be the last segment");
    for (auto const& before : segments) {
      if (before.kind != segment_kind::text && before.text == s) malformed(pattern, "two parameters of one name");
    }
    segments.push_back({rest ? segment_kind::rest : segment_kind::one, s});
  }
  return segments;
}

/// Whether a request's method may be both.
bool share_requests(std::string_view method, std::string_view other) noexcept {
  auto const answers_head = [](std::string_view m) { return m == "GET" || m == "HEAD"; };
  return method == other || method == "*" || other == "*" || (answers_head(method) && answers_head(other));
}

/// Literals are in the order of their lengths, then of their bytes: most comparisons need the lengths alone.
auto literal_at(auto& literals, std::string_view text) {
  auto const before = [](std::string_view a, std::string_view b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  };
  return std::ranges::lower_bound(literals, text, before, [](auto const& l) { return std::string_view(l.first); });
}

route_node& child(route_node& of, segment const& s) {
  std::unique_ptr<route_node>* place = &of.one;
  if (s.kind == segment_kind::rest) place = &of.rest;
  if (s.kind == segment_kind::text) {
    auto at = literal_at(of.literals, s.text);
    if (at == of.literals.end() || at->first != s.text) at = of.literals.emplace(at, std::string(s.text), nullptr);
    place = &at->second;
  }
  if (!*place) *place = std::make_unique<route_node>();
  return **place;
}

/// A walk over the routes that match some of the paths of a new pattern: for one that also matches others than these, as the new one does.
/// Only those branches are gone into that have such routes, so a router of thousands is made in no time.
class overlap_search {
 public:
  explicit overlap_search(std::string_view method) : method_(method) {}

  /// Below the node, for what is left of the pattern. `within`: so far all paths of the new one are the other's, too; `around`: the other way round.
  route const* walk(route_node const& node, std::span<segment const> left, bool within, bool around) const {
    if (left.empty()) return within || around ? nullptr : any_of(node);
    auto const [kind, text] = left.front();
    auto const behind = left.subspan(1);
    if (node.rest && !within && (kind != segment_kind::rest || !around)) {
      if (auto const* r = any_of(*node.rest)) return r;
    }
    if (kind == segment_kind::rest) return around ? nullptr : any_below(node);
    if (kind == segment_kind::text) {
      auto const at = literal_at(node.literals, text);
      if (at != node.literals.end() && at->first == text) {
        if (auto const* r = walk(*at->second, behind, within, around)) return r;
      }
      return node.one && !text.empty() ? walk(*node.one, behind, within, false) : nullptr;  // a parameter is not empty
    }
    for (auto const& [literal, child] : node.literals) {
      if (literal.empty()) continue;
      if (auto const* r = walk(*child, behind, false, around)) return r;
    }
    return node.one ? walk(*node.one, behind, within, around) : nullptr;
  }

 private:
  route const* any_of(route_node const& node) const {
    auto const at = std::ranges::find_if(node.routes, [&](auto const& r) { return share_requests(method_, r.method); });
    return at != node.routes.end() ? &*at : nullptr;
  }
  route const* any_from(route_node const& node) const {
    if (auto const* r = any_of(node)) return r;
    if (auto const* r = any_below(node)) return r;
    return node.rest ? any_of(*node.rest) : nullptr;
  }
  route const* any_below(route_node const& node) const {  // but `rest`
    for (auto const& [literal, child] : node.literals) {
      if (auto const* r = any_from(*child)) return r;
    }
    return node.one ? any_from(*node.one) : nullptr;
  }

  std::string_view method_;
};

/// One walk down the trie. Keeps the values of parameters in q.params, with empty names until the route is known.
class search {
 public:
  explicit search(request_state& q) : q_(q) {}

  route const* walk(route_node const& node, std::string_view left, bool at_end) {
    if (at_end) return method_of(node);
    auto const slash = left.find('/');
    std::string_view const segment = left.substr(0, slash);
    bool const last = slash == left.npos;
    std::string_view const behind = last ? std::string_view() : left.substr(slash + 1);
    if (!node.literals.empty()) {
      std::string_view const text = decode(segment);
      auto const at = literal_at(node.literals, text);
      if (at != node.literals.end() && at->first == text) {
        if (auto const* r = walk(*at->second, behind, last)) return r;
      }
    }
    if (node.one && !segment.empty()) {
      if (auto const* r = with_param(segment, [&] { return walk(*node.one, behind, last); })) return r;
    }
    if (node.rest) return with_param(left, [&] { return method_of(*node.rest); });
    return nullptr;
  }

 private:
  std::string_view decode(std::string_view raw) { return percent_decode(raw, q_.text).value_or(raw); }

  template <class F>
  route const* with_param(std::string_view raw, F next) {
    q_.params.push_back({{}, raw});
    if (auto const* r = next()) return r;
    q_.params.pop_back();
    return nullptr;
  }

  route const* method_of(route_node const& node) {
    route const* found = nullptr;
    for (auto const& r : node.routes) {
      if (r.method == q_.method) return found = &r, finish(found);
      // "*" answers what no other does, and GET answers HEAD: in whatever order they came.
      if (r.method == "*" ? !found : r.method == "GET" && q_.method == "HEAD") found = &r;
    }
    if (found) return finish(found);
    for (auto const& r : node.routes) {
      add_allowed(r.method);
      if (r.method == "GET") add_allowed("HEAD");
    }
    return nullptr;
  }

  route const* finish(route const* r) {
    for (std::size_t i = 0; i < r->names.size(); ++i) {
      q_.params[i].name = r->names[i];
      q_.params[i].value = decode(q_.params[i].value);
    }
    return r;
  }

  void add_allowed(std::string_view method) {
    for (std::string_view left = q_.allow; !left.empty();) {
      auto const comma = left.find(", ");
      if (left.substr(0, comma) == method) return;
      left = comma == left.npos ? std::string_view() : left.substr(comma + 2);
    }
    if (!q_.allow.empty()) q_.allow += ", ";
    q_.allow += method;
  }

  request_state& q_;
};

}  // namespace

route_table::route_table() { scopes_.emplace_back(); }

void route_table::check_open(char const* call) const {
  if (frozen_.load(std::memory_order_acquire)) {
    throw std::logic_error(std::string("weft::http::router::") + call + ": a server has been made of this router");
  }
}

void route_table::add(route_scope& scope, std::string_view method, std::string_view pattern, http::handler handler,
                      bool streamed) {
  check_open("handle");
  if (method != "*" && !is_field_name(method)) {
    throw std::invalid_argument("weft::http::router: '" + std::string(method) + "' is not a method");
  }
  std::string whole = scope.prefix + std::string(pattern);
  if (pattern.empty() && scope.prefix.empty()) malformed(pattern, "must begin with '/'");
  route_node* node = &root_;
  std::vector<std::string> names;
  auto const segments = split_pattern(whole);
  for (auto const& s : segments) {
    node = &child(*node, s);
    if (s.kind != segment_kind::text) names.emplace_back(s.text);
  }
  for (auto const& other : node->routes) {
    if (other.method == method) {
      throw std::invalid_argument("weft::http::router: " + std::string(method) + " " + whole +
                                  " answers the same requests as " + other.method + " " + other.pattern);
    }
  }
  if (auto const* const other = overlap_search(method).walk(root_, segments, true, true)) {
    throw std::invalid_argument("weft::http::router: " + std::string(method) + " " + whole + " and " + other->method +
                                " " + other->pattern + " match some of the same paths, and neither is more specific");
  }
  node->routes.push_back(
      {std::string(method), std::move(whole), std::move(names), std::move(handler), &scope, streamed});
}

void route_table::use(route_scope& scope, http::middleware m) {
  check_open("use");
  if (!m) throw std::invalid_argument("weft::http::router::use: an empty middleware");
  scope.middlewares.push_back(std::move(m));
}

http::handler route_table::wrapped(http::handler h, route_scope const* scope) {
  for (; scope != nullptr; scope = scope->parent) {
    for (auto m = scope->middlewares.rbegin(); m != scope->middlewares.rend(); ++m) h = (*m)(std::move(h));
  }
  return h;
}

void route_table::wrap(route_node& node) {
  for (auto& r : node.routes) r.handler = wrapped(std::move(r.handler), r.scope);
  for (auto& l : node.literals) wrap(*l.second);
  if (node.one) wrap(*node.one);
  if (node.rest) wrap(*node.rest);
}

void route_table::freeze() {
  std::call_once(freeze_once_, [this] {
    wrap(root_);
    unmatched_.handler = wrapped(
        [](http::request& q) {
          request_state const& state = http_access::state(q);
          if (state.method == "OPTIONS" && state.path == "*") return http::response(204);  // of the server: it is here
          if (state.allow.empty()) return http::response(404, "Not Found\n");
          // OPTIONS is answered for every path that is there, so it is one of the methods.
          std::string const methods = has_option(state.allow, "OPTIONS") ? state.allow : state.allow + ", OPTIONS";
          if (state.method == "OPTIONS") return http::response(204).header("Allow", methods);
          return http::response(405, "Method Not Allowed\n").header("Allow", methods);
        },
        outermost());
    frozen_.store(true, std::memory_order_release);  // pairs with check_open's load
  });
}

route const& route_table::find(request_state& q) const {
  if (q.raw_path.starts_with('/')) {
    if (auto const* r = search(q).walk(root_, q.raw_path.substr(1), false)) return *r;
  }
  q.params.clear();
  return unmatched_;
}

}  // namespace weft::rt

namespace weft::http {

router::router() : table_(std::make_shared<rt::route_table>()), scope_(table_->outermost()) {}

void router::use(middleware m) { table_->use(*scope_, std::move(m)); }

router& router::group(std::string_view prefix, middleware m) { return table_->group(*scope_, prefix, std::move(m)); }

void router::add(std::string_view method, std::string_view pattern, handler h, bool streamed) {
  table_->add(*scope_, method, pattern, std::move(h), streamed);
}

}  // namespace weft::http

namespace weft::rt {

http::router& route_table::group(route_scope& scope, std::string_view prefix, http::middleware m) {
  check_open("group");
  if (prefix.ends_with('/')) prefix.remove_suffix(1);
  if (!prefix.empty()) [[maybe_unused]]
    auto const checked = split_pattern(prefix);
  scopes_.push_back({&scope, scope.prefix + std::string(prefix), {}});
  if (m) scopes_.back().middlewares.push_back(std::move(m));
  // The router of a group stands in the table, so it must not own it: a shared_ptr without an owner.
  groups_.push_back(http::router(std::shared_ptr<route_table>(std::shared_ptr<void>(), this), &scopes_.back()));
  return groups_.back();
}

}  // namespace weft::rt
