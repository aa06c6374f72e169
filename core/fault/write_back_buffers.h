// SPDX-License-Identifier: LGPL-2.1-or-later
// The memory that pages are written back from: buffers of one batch each, in one piece, so that a store can be told of all of it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

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

  /// Null: none is free.
  [[nodiscard]] std::byte* Take();
  void GiveBack(std::byte* buffer) { free_.push_back(buffer); }
  [[nodiscard]] std::span<const std::byte> All() const { return memory_; }

 private:
  std::span<std::byte> memory_;
  std::vector<std::byte*> free_;
};

}  // namespace heca::fault
