// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/write_back_buffers.h"

#include <sys/mman.h>

#include "base/check.h"

namespace heca::fault {

WriteBackBuffers::WriteBackBuffers(const EngineSizes& sizes, Bytes page_size) : each_(sizes.batch_pages * page_size.value()) {
  const std::size_t all = each_ * sizes.buffers;
  void* memory = ::mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  HECA_CHECK(memory != MAP_FAILED);
  memory_ = rest_ = {static_cast<std::byte*>(memory), all};
}

WriteBackBuffers::~WriteBackBuffers() { ::munmap(memory_.data(), memory_.size()); }

std::byte* WriteBackBuffers::Take() {
  if (rest_.empty()) return nullptr;
  std::byte* const buffer = rest_.data();
  rest_ = rest_.subspan(each_);
  return buffer;
}

}  // namespace heca::fault
