// Where weft's own descriptors may stand. weft's sockets belong to the program and are not concerned.
#pragma once

namespace weft::rt {

/// The same descriptor, or a copy above the three standard ones in its place. A program that was started with some of those closed puts others
/// there when it likes, by dup2, which would close weft's. Failures (-1) go through, with errno as it was.
[[nodiscard]] int above_standard(int fd) noexcept;

}  // namespace weft::rt
