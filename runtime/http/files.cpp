// The handler that answers with files.
#include <weft/http/files.hpp>

#include "runtime/http/file_request.hpp"
#include "runtime/http/http_date.hpp"
#include "runtime/http/open_file.hpp"
#include "runtime/http/state.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <memory>
#include <system_error>
#include <utility>

#include <fcntl.h>

namespace weft::http {

namespace {

using namespace rt;

/// Changes whenever time or size does.
std::string tag_of(open_file const& f) {
  char text[2 + 16 + 1 + 16] = {'"'};
  // Of any file system's time: what wraps is a tag as well.
  std::uint64_t const time = static_cast<std::uint64_t>(f.modified) * 1'000'000'000 + f.modified_ns;
  char* at = std::to_chars(text + 1, text + sizeof text, time, 16).ptr;
  *at++ = '-';
  at = std::to_chars(at, text + sizeof text, f.size, 16).ptr;
  return std::string(text, at) + '"';
}

response not_found() { return response(404, "Not Found\n"); }

/// Whether a slash of `path`, which is the decoded end of the target's path, was sent as %2F. Then it is part of a name, which no file
/// has; taken for one that separates, it would lead round the routes of the folders below and their middleware.
bool has_escaped_slash(std::string_view raw, std::string_view path) noexcept {
  if (raw.find('%') == raw.npos) return false;
  // Behind the slash before as many as `path` has: that is all of it if none was escaped, and more if one was.
  std::size_t from = raw.size();
  for (auto left = std::ranges::count(path, '/'); left >= 0 && from != 0; --left) {
    auto const slash = raw.rfind('/', from - 1);
    from = slash == raw.npos ? 0 : slash;
  }
  raw.remove_prefix(from);
  return raw.contains("%2F") || raw.contains("%2f");
}

/// To the same path with a '/' at its end. One that begins with two is none to be sent back: it would name a host.
response to_folder(request_state const& q) {
  if (q.raw_path.starts_with("//") || q.raw_path.find('\\') != q.raw_path.npos) return not_found();
  std::string to = std::string(q.raw_path) + '/';
  if (!q.raw_query.empty()) to.append("?").append(q.raw_query);
  return response(308).header("Location", to);
}

response answer(request_state const& q, open_file&& opened, std::string_view name, file_options const& options) {
  auto const file = std::make_shared<open_file const>(std::move(opened));
  char date[http_date_size];
  // A time to come would be later than the response's Date (RFC 9110, 8.8.2.1), and before the year 1 there is no date
  // to write.
  constexpr std::int64_t year_1 = -62'135'596'800;
  std::int64_t const present =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::int64_t const seconds = std::clamp(file->modified, year_1, present);
  write_http_date(date, seconds);
  std::string const tag = tag_of(*file), size = std::to_string(file->size);
  auto const with_fields = [&](response r) {
    r.header("ETag", tag).header("Last-Modified", {date, sizeof date}).header("Accept-Ranges", "bytes");
    if (!options.cache_control.empty()) r.header("Cache-Control", options.cache_control);
    return r;
  };
  file_validators const now{tag, seconds, seconds < present - 1};
  precondition const asked = precondition_of(q, now);
  if (asked == precondition::failed) return with_fields(response(412, "Precondition Failed\n"));
  if (asked == precondition::unmodified) return with_fields(response(304));
  auto const range = q.method == "GET" ? range_of(q, now, file->size) : no_range::whole;
  if (range == std::variant<byte_range, no_range>(no_range::unsatisfiable))
    return with_fields(response(416)).header("Content-Range", "bytes */" + size);
  auto const* part = std::get_if<byte_range>(&range);
  byte_range const sent = part ? *part : byte_range{0, file->size};
  response r = with_fields(response(part ? 206 : 200, type_of_file(name), file_part{file, sent.first, sent.length}));
  if (part) {
    r.header("Content-Range",
             "bytes " + std::to_string(sent.first) + '-' + std::to_string(sent.first + sent.length - 1) + '/' + size);
  }
  return r;
}

}  // namespace

handler files(std::string const& root, file_options options) {
  auto const folder = std::make_shared<descriptor const>(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (folder->get() < 0) throw std::system_error(errno, std::system_category(), "weft::http::files: " + root);
  return [folder, options = std::move(options)](request& q) {
    request_state const& state = http_access::state(q);
    if (state.method != "GET" && state.method != "HEAD")
      return response(405, "Method Not Allowed\n").header("Allow", "GET, HEAD");
    std::string_view const path = q.param(options.param);
    if (has_escaped_slash(state.raw_path, path)) return not_found();
    auto opened = open_beneath(*folder, path, options.index);
    if (auto const* none = std::get_if<no_file>(&opened)) {
      if (*none == no_file::unavailable) return response(503, "Service Unavailable\n");
      if (*none == no_file::failed) return response(500, "Internal Server Error\n");
      return *none == no_file::folder && !options.index.empty() ? to_folder(state) : not_found();
    }
    bool const of_folder = path.empty() || path.ends_with('/');
    return answer(state, std::move(std::get<open_file>(opened)), of_folder ? std::string_view(options.index) : path,
                  options);
  };
}

}  // namespace weft::http
