// SPDX-License-Identifier: LGPL-2.1-or-later
// The first page of a page table file: for which region and which store it was made. Recovery refuses a table that
// does not fit. Private to region/.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "heca/status.h"
#include "region/region_map.h"

namespace heca::region {

inline constexpr std::uint64_t kTableMagic = 0x454C424154434548;  // "HECTABLE"
inline constexpr std::uint32_t kTableVersion = 1;

struct TableBlock {
  std::uint64_t pages;
  std::uint64_t address;
  std::uint64_t offset;
};

struct TableHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t slot_mark;  // the highest slot ever handed out; the one field that changes
  std::uint64_t page_size;
  std::uint64_t page_count;
  std::uint64_t block_count;
  std::array<TableBlock, kMaxBlocks> blocks;
  std::array<char, 256> store;
  std::array<std::byte, 4096 - 40 - sizeof(TableBlock) * kMaxBlocks - 256> reserved;
};
static_assert(sizeof(TableHeader) == 4096);

/// kInvalidArgument if the store's name is too long.
Status WriteHeader(TableHeader& header, const RegionMap& map, const std::string& store);
/// kFailedPrecondition that names what differs.
Status CheckHeader(const TableHeader& header, const RegionMap& map, const std::string& store);

inline std::atomic_ref<std::uint32_t> SlotMark(TableHeader& header) { return std::atomic_ref(header.slot_mark); }

}  // namespace heca::region
