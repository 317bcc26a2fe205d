// Files of a folder as responses.
//
//   routes.get("/static/{path...}", weft::http::files("/srv/www"));
#pragma once

#include <weft/http/router.hpp>

#include <string>

namespace weft::http {

struct file_options {
  /// Of the route: what it stands for is looked up below the root.
  std::string param = "path";
  /// Answers for a folder whose path ends in '/'; empty: none does, and folders are 404.
  std::string index = "index.html";
  /// Sent as Cache-Control; empty: no such field.
  std::string cache_control;
};

/// A handler for GET and HEAD that answers with regular files below `root`, sent by sendfile(2), so without a copy through the program.
///
/// What is served: regular files whose names, and those of the folders down to them, do not begin with a dot. Symbolic links
/// below the root are not followed (the root itself may be one); ".." is refused before any handler sees it. Everything else is 404,
/// a file without permission too. A folder without its '/' at the end is 308 to the path with it.
///
/// ETag and Last-Modified are sent and the conditions of RFC 9110, 13 honoured (304, 412), and Range (one range of bytes; several
/// give the whole file: 206, 416). The type goes by the extension, application/octet-stream by default.
///
/// A file that is changed while it is sent may come mixed; one that is cut short breaks the connection, so that the client
/// can tell. Throws std::system_error if `root` cannot be opened. The root stays open as long as the handler lives.
[[nodiscard]] handler files(std::string const& root, file_options options = {});

}  // namespace weft::http
