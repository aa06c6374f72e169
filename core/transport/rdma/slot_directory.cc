// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/slot_directory.h"

#include <utility>

namespace heca::transport::rdma {
namespace {

/// Most leases have not more of it: a hundred slabs' entries.
constexpr std::size_t kAtFirst = 4096;
/// Between two looks, while the server is asked for slots that it has not registered yet, or cannot register.
constexpr Millis kPause{50};

constexpr std::size_t SizeOf(std::uint32_t entries) { return wire::kDirectoryHeaderSize + entries * wire::kDirectoryEntrySize; }

}  // namespace

Result<SlotDirectory> SlotDirectory::Make(Link& link, const wire::RemoteMemory& directory, std::size_t page_size) {
  HECA_ASSIGN_OR_RETURN(auto copy, Registered::Make(link.domain(), kAtFirst, Reach::kLocal));
  return SlotDirectory(link, directory, page_size, std::move(copy));
}

void SlotDirectory::Ask() {
  if (!wanted_ || state_ != State::kResting) return;
  const auto now = Clock::now();
  if (now < next_) return;
  next_ = now + kPause;
  wanted_ = false;
  state_ = State::kCounting;
  Read(wire::kDirectoryHeaderSize);
}

Result<std::optional<SlotMap>> SlotDirectory::Take() {
  if (state_ == State::kCounting) {
    HECA_ASSIGN_OR_RETURN(const auto count, wire::DecodeDirectoryCount(copy_.bytes().first<wire::kDirectoryHeaderSize>()));
    state_ = count > entries_ ? State::kFetching : State::kResting;
    if (state_ == State::kResting) return std::optional<SlotMap>();
    entries_ = count;
    if (SizeOf(count) > copy_.bytes().size()) {
      HECA_ASSIGN_OR_RETURN(copy_, Registered::Make(link_->domain(), SizeOf(count), Reach::kLocal));
    }
    Read(SizeOf(count));
    return std::optional<SlotMap>();
  }
  state_ = State::kResting;
  SlotMap map(page_size_);
  HECA_RETURN_IF_ERROR(map.Load(copy_.bytes().first(SizeOf(entries_))));
  return std::optional(std::move(map));
}

void SlotDirectory::Read(std::size_t bytes) { link_->Read(copy_.Part(0, bytes), directory_, kTag); }

}  // namespace heca::transport::rdma
