// SPDX-License-Identifier: LGPL-2.1-or-later
#include "region/table_header.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace heca::region {
namespace {

Status Misfit(const std::string& what, std::uint64_t table, std::uint64_t region) {
  return Status(ErrorCode::kFailedPrecondition, "the page table was made for another region: " + what + " " +
                    std::to_string(table) + ", now " + std::to_string(region), ErrorScope::kRegion);
}

}  // namespace

Status WriteHeader(TableHeader& header, const RegionMap& map, const std::string& store) {
  if (store.size() >= header.store.size()) {
    return Status(ErrorCode::kInvalidArgument, "the store's name is longer than 255 bytes", ErrorScope::kRegion);
  }
  header = TableHeader{};
  header.version = kTableVersion;
  header.page_size = map.page_size().value();
  header.page_count = map.pages().value();
  header.block_count = map.blocks().size();
  for (std::size_t i = 0; i < map.blocks().size(); ++i) {
    const Block& block = map.blocks()[i];
    header.blocks[i] = {block.pages.value(), block.address.value(), block.offset.value()};
  }
  std::copy(store.begin(), store.end(), header.store.begin());
  std::atomic_ref(header.magic).store(kTableMagic, std::memory_order_release);  // last: a half-made table has none
  return Status();
}

Status CheckHeader(const TableHeader& header, const RegionMap& map, const std::string& store) {
  if (header.magic != kTableMagic) {
    return Status(ErrorCode::kFailedPrecondition, "not a page table", ErrorScope::kRegion);
  }
  if (header.version != kTableVersion) return Misfit("version", header.version, kTableVersion);
  if (header.page_size != map.page_size().value()) return Misfit("page size", header.page_size, map.page_size().value());
  if (header.page_count != map.pages().value()) return Misfit("pages", header.page_count, map.pages().value());
  if (header.block_count != map.blocks().size()) return Misfit("blocks", header.block_count, map.blocks().size());
  for (std::size_t i = 0; i < map.blocks().size(); ++i) {
    const Block& block = map.blocks()[i];
    const TableBlock& old = header.blocks[i];
    if (old.pages != block.pages.value()) return Misfit("pages of a block", old.pages, block.pages.value());
    if (old.address != block.address.value()) return Misfit("address of a block", old.address, block.address.value());
    if (old.offset != block.offset.value()) return Misfit("offset of a block", old.offset, block.offset.value());
  }
  const std::string_view old_store(header.store.data());
  if (old_store != store) {
    return Status(ErrorCode::kFailedPrecondition, "the page table belongs to store '" + std::string(old_store) +
                      "', not to '" + store + "'", ErrorScope::kRegion);
  }
  return Status();
}

}  // namespace heca::region
