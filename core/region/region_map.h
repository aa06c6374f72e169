// SPDX-License-Identifier: LGPL-2.1-or-later
// Which guest addresses and which bytes of which RAM file a page index means. A region is several blocks (memory
// below and above 4 GiB, NUMA nodes, DIMMs) counted through as one address space with one page size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "heca/status.h"
#include "heca/types.h"
#include "os/ram_file.h"
#include "os/uffd.h"

namespace heca::region {

/// At most this many blocks form a region (QEMU's own limit of memory slots on x86 is 512; a VM has a handful).
inline constexpr std::size_t kMaxBlocks = 64;

/// What a block is made from. Owns a descriptor of its RAM file.
struct BlockSpec {
  os::TargetAddress address;  ///< where the target process maps it
  Bytes size;
  unique_fd file;
  os::FileOffset offset;      ///< of the block's first byte in the file
};

struct Block {
  PageIndex first;
  PageCount pages;
  os::TargetAddress address;
  os::FileOffset offset;
  os::RamFile file;
};

/// Neighbouring pages inside one block.
struct PageRun {
  PageIndex first;
  std::uint64_t pages = 0;
};

/// Neighbouring pages that lie in neighbouring slots of a store.
struct SlotRun {
  PageIndex first;
  std::uint64_t pages = 0;
  Slot slot = kNoSlot;  ///< of the first
};

/// Immutable after Create, so thread-safe.
class RegionMap {
 public:
  /// Every block must be a multiple of its file's page size, and all files must have the same.
  static Result<RegionMap> Create(std::vector<BlockSpec> specs);

  [[nodiscard]] Bytes page_size() const { return page_size_; }
  [[nodiscard]] PageCount pages() const { return pages_; }
  [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }
  [[nodiscard]] Bytes BytesOf(std::uint64_t pages) const { return Bytes(pages << page_shift_); }

  /// The page that holds `address`; none if no block does.
  [[nodiscard]] std::optional<PageIndex> PageAt(os::TargetAddress address) const;
  [[nodiscard]] const Block& BlockOf(PageIndex page) const;
  [[nodiscard]] os::TargetAddress AddressOf(PageIndex page) const;
  [[nodiscard]] os::FileOffset OffsetOf(PageIndex page) const;
  /// `run` cut off at the end of the block that holds its first page.
  [[nodiscard]] PageRun Clip(PageRun run) const;

 private:
  RegionMap() = default;
  std::vector<Block> blocks_;
  Bytes page_size_{0};
  unsigned page_shift_ = 0;
  PageCount pages_{0};
};

}  // namespace heca::region
