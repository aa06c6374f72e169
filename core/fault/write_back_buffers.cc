// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/write_back_buffers.h"

#include <sys/mman.h>

#include "base/check.h"

namespace heca::fault {

WriteBackBuffers::WriteBackBuffers(const EngineSizes& sizes, Bytes page_size) {
  const std::size_t one = sizes.batch_pages * page_size.value();
  const std::size_t all = one * sizes.buffers;
  void* memory = ::mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  HECA_CHECK(memory != MAP_FAILED);
  memory_ = {static_cast<std::byte*>(memory), all};
  free_.reserve(sizes.buffers);
  for (std::size_t i = 0; i < sizes.buffers; ++i) free_.push_back(memory_.data() + i * one);
}

WriteBackBuffers::~WriteBackBuffers() { ::munmap(memory_.data(), memory_.size()); }

std::byte* WriteBackBuffers::Take() {
  if (free_.empty()) return nullptr;
  std::byte* const buffer = free_.back();
  free_.pop_back();
  return buffer;
}

}  // namespace heca::fault
