// SPDX-License-Identifier: LGPL-2.1-or-later
// The memory that pages are written back from: buffers of one batch each, in one piece, so that a store can be told of all of it.
#pragma once

#include <cstddef>
#include <span>

#include "fault/engine_config.h"
#include "heca/types.h"

namespace heca::fault {

/// Owner loop only, except All.
class WriteBackBuffers {
 public:
  WriteBackBuffers(const EngineSizes& sizes, Bytes page_size);
  ~WriteBackBuffers();
  WriteBackBuffers(const WriteBackBuffers&) = delete;
  WriteBackBuffers& operator=(const WriteBackBuffers&) = delete;

  /// One that nobody has had yet; null: there is none. Whoever has had it uses it again.
  [[nodiscard]] std::byte* Take();
  [[nodiscard]] std::span<const std::byte> All() const { return memory_; }

 private:
  const std::size_t each_;  ///< bytes
  std::span<std::byte> memory_;
  std::span<std::byte> rest_;  ///< of it, not taken yet
};

}  // namespace heca::fault
