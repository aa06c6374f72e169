// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/ram_image.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/fail_points.h"

namespace heca::store {
namespace {

constexpr std::uint64_t kPage = kBasePage.value();
alignas(kPage) constexpr std::array<std::byte, kPage> kZeros{};

}  // namespace

Result<std::shared_ptr<RamImage>> RamImage::Create(LeaseId id, Epoch epoch, std::vector<ImageBlock> blocks) {
  std::shared_ptr<RamImage> image(new RamImage(id, epoch));
  std::uint64_t pages = 0;
  for (ImageBlock& block : blocks) {
    if (!block.file.knows_holes()) {
      return Status(ErrorCode::kUnsupported, "memory on hugetlbfs cannot be migrated yet: detach it and use another backing",
                    ErrorScope::kRegion);
    }
    // Only pages that are known to be there are touched through it: see ForRead.
    void* base = ::mmap(nullptr, block.size.value(), PROT_READ, MAP_SHARED | MAP_NORESERVE, block.file.fd(),
                        static_cast<off_t>(block.offset.value()));
    if (base == MAP_FAILED) return Status::FromErrno(errno, "cannot map the VM's RAM", ErrorScope::kRegion);
    const std::uint64_t size = block.size.value();
    image->blocks_.push_back({std::move(block), static_cast<const std::byte*>(base), pages});
    pages += size / kPage;
  }
  if (pages == 0 || pages >= UINT32_MAX) {
    return Status(ErrorCode::kInvalidArgument, fmt::format("an image of {} pages", pages), ErrorScope::kRegion);
  }
  image->pages_ = static_cast<std::uint32_t>(pages);
  image->released_ = std::vector<std::atomic<bool>>(pages);
  return image;
}

RamImage::~RamImage() {
  for (const Mapped& mapped : blocks_) {
    ::munmap(const_cast<std::byte*>(mapped.base), mapped.block.size.value());
  }
}

const RamImage::Mapped* RamImage::BlockOf(Slot slot) const {
  if (slot == kNoSlot || slot.value() > pages_) return nullptr;
  const std::uint64_t page = slot.value() - 1;
  const auto after = std::upper_bound(blocks_.begin(), blocks_.end(), page,
                                      [](std::uint64_t at, const Mapped& mapped) { return at < mapped.first; });
  return &*(after - 1);
}

Result<std::span<const std::byte>> RamImage::ForRead(Slot slot) {
  const Mapped* const mapped = BlockOf(slot);
  if (mapped == nullptr) {
    return Status(ErrorCode::kInvalidArgument, fmt::format("the image has slots 1 to {}, not {}", pages_, slot.value()),
                  ErrorScope::kPage);
  }
  if (!open_.load(std::memory_order_acquire)) {
    return Status(ErrorCode::kFailedPrecondition, "the VM is not stopped: its memory cannot be read yet",
                  ErrorScope::kReplica);
  }
  const std::uint64_t at = (slot.value() - 1 - mapped->first) * kPage;
  (void)FailPointHit(FailPoint::kCrashServingImage);
  const os::FileOffset offset = mapped->block.offset + at;
  HECA_ASSIGN_OR_RETURN(const os::FileExtent data, mapped->block.file.NextData(offset, offset + kPage));
  // Through the mapping a hole would become a page.
  if (data.start == data.end) return std::span<const std::byte>(kZeros);
  return std::span<const std::byte>(mapped->base + at, kPage);
}

Result<std::span<std::byte>> RamImage::BeginWrite(Slot, transport::Attempt) {
  return Status(ErrorCode::kPermissionDenied, "the image of a VM is never written", ErrorScope::kReplica);
}

Status RamImage::Release(Slot slot) {
  if (BlockOf(slot) == nullptr) return Status(ErrorCode::kInvalidArgument, "no such slot", ErrorScope::kPage);
  if (!released_[slot.value() - 1].exchange(true, std::memory_order_relaxed)) {
    released_count_.fetch_add(1, std::memory_order_relaxed);
  }
  return {};
}

RamImage::Progress RamImage::progress() const {
  return {pages_, released_count_.load(std::memory_order_relaxed)};
}

Result<std::vector<RamImage::Run>> RamImage::Holes() const {
  std::vector<Run> empty;
  const auto add = [&empty](std::uint64_t first, std::uint64_t pages) {
    if (pages == 0) return;
    if (!empty.empty() && empty.back().first + empty.back().pages == first) {
      empty.back().pages += pages;
    } else {
      empty.push_back({first, pages});
    }
  };
  for (const Mapped& mapped : blocks_) {
    const os::FileOffset begin = mapped.block.offset;
    const os::FileOffset end = begin + mapped.block.size.value();
    const auto page_of = [&](os::FileOffset at) { return mapped.first + (at - begin) / kPage; };
    for (os::FileOffset at = begin; at < end;) {
      HECA_ASSIGN_OR_RETURN(const os::FileExtent data, mapped.block.file.NextData(at, end));
      const bool none = data.start == data.end;
      add(page_of(at), ((none ? end : data.start) - at) / kPage);
      for (os::FileOffset page = data.start; page < data.end; page = page + kPage) {
        if (std::memcmp(mapped.base + (page - begin), kZeros.data(), kPage) == 0) add(page_of(page), 1);
      }
      at = none ? end : data.end;
    }
  }
  return empty;
}

}  // namespace heca::store
