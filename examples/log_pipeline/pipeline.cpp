#include "pipeline.hpp"

namespace logs {

block* next_block(job& j, weft::context const& until) {
  block* b = nullptr;
  try {
    weft::scoped_context const in(until);  // for the waiting, not for the sending: what has been read goes on
    b = j.pool.take();
    return j.source.fill(*b) ? b : nullptr;
  } catch (weft::cancelled const&) {
    j.done.interrupted = true;
  }
  if (!j.source.within_line()) return nullptr;
  if (b == nullptr) b = j.pool.take();
  j.source.end_line(*b);
  return b;
}

}  // namespace logs
