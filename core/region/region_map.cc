// SPDX-License-Identifier: LGPL-2.1-or-later
#include "region/region_map.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "base/check.h"

namespace heca::region {

Result<RegionMap> RegionMap::Create(std::vector<BlockSpec> specs) {
  if (specs.empty() || specs.size() > kMaxBlocks) {
    return Status(ErrorCode::kInvalidArgument,
                  "a region has 1 to " + std::to_string(kMaxBlocks) + " blocks, not " + std::to_string(specs.size()),
                  ErrorScope::kRegion);
  }
  RegionMap map;
  for (BlockSpec& spec : specs) {
    HECA_ASSIGN_OR_RETURN(os::RamFile file, os::RamFile::Create(std::move(spec.file)));
    const std::uint64_t page = file.page_size().value();
    if (map.page_size_.value() == 0) {
      map.page_size_ = file.page_size();
      map.page_shift_ = static_cast<unsigned>(std::countr_zero(page));
    }
    if (file.page_size() != map.page_size_) {
      return Status(ErrorCode::kFailedPrecondition, "all RAM of a region must have one page size; found " +
                        std::to_string(map.page_size_.value()) + " and " + std::to_string(page), ErrorScope::kRegion);
    }
    if (spec.size.value() == 0 || spec.size.value() % page != 0 || spec.address.value() % page != 0 ||
        spec.offset.value() % page != 0) {
      return Status(ErrorCode::kInvalidArgument, "a block of RAM is not a multiple of the page size " +
                        std::to_string(page), ErrorScope::kRegion);
    }
    const PageCount pages(spec.size.value() >> map.page_shift_);
    map.blocks_.push_back({PageIndex(map.pages_.value()), pages, spec.address, spec.offset, std::move(file)});
    map.pages_ = map.pages_ + pages.value();
  }
  return map;
}

std::optional<PageIndex> RegionMap::PageAt(os::TargetAddress address) const {
  for (const Block& block : blocks_) {
    if (address < block.address) continue;
    const std::uint64_t page = (address - block.address) >> page_shift_;
    if (page < block.pages.value()) return block.first + page;
  }
  return std::nullopt;
}

const Block& RegionMap::BlockOf(PageIndex page) const {
  for (const Block& block : blocks_) {
    if (page - block.first < block.pages.value()) return block;
  }
  HECA_CHECK(page < PageIndex(pages_.value()));
  return blocks_.back();
}

os::TargetAddress RegionMap::AddressOf(PageIndex page) const {
  const Block& block = BlockOf(page);
  return block.address + ((page - block.first) << page_shift_);
}

os::FileOffset RegionMap::OffsetOf(PageIndex page) const {
  const Block& block = BlockOf(page);
  return block.offset + ((page - block.first) << page_shift_);
}

PageRun RegionMap::Clip(PageRun run) const {
  const Block& block = BlockOf(run.first);
  return {run.first, std::min(run.pages, block.pages.value() - (run.first - block.first))};
}

}  // namespace heca::region
