// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/image_sponsor.h"

#include <fmt/format.h>

#include <utility>

#include "store/random.h"

namespace heca::store {
namespace {

/// An image is lent until it is given back; its borrower renews all the same, as it does for every lease.
constexpr Millis kLife{60'000};
constexpr GrantTimes kTimes;

Status Unknown(LeaseId id) {
  return {ErrorCode::kNotFound, fmt::format("image {} is not offered here (any more)", id.value() & ~kImageBit),
          ErrorScope::kReplica};
}

}  // namespace

void ImageSponsor::SetEndpoints(std::vector<control::DataEndpoint> endpoints) {
  const std::lock_guard lock(mutex_);
  endpoints_ = std::move(endpoints);
}

void ImageSponsor::OnTakeOver(std::function<Status(const ImageIdentity&)> journal) {
  const std::lock_guard lock(mutex_);
  journal_ = std::move(journal);
}

Result<control::Lease> ImageSponsor::Offer(const RegionId& region, std::vector<ImageBlock> blocks) {
  const LeaseId id(RandomLeaseId().value() | kImageBit);
  return OfferAgain(region, std::move(blocks), {{id, Epoch(1), RandomSecret()}, {}});
}

Result<control::Lease> ImageSponsor::OfferAgain(const RegionId& region, std::vector<ImageBlock> blocks,
                                                const ImageIdentity& identity) {
  auto entry = std::make_shared<Entry>();
  entry->key = identity.key;
  entry->claim = identity.claim;
  entry->region = region;
  HECA_ASSIGN_OR_RETURN(entry->image, RamImage::Create(identity.key.id, identity.key.epoch, std::move(blocks)));
  entry->views = std::make_shared<ViewBoard>(entry->image);
  const std::lock_guard lock(mutex_);
  if (!images_.emplace(identity.key.id, entry).second) {
    return Status(ErrorCode::kAlreadyExists, "the image is offered already", ErrorScope::kReplica);
  }
  return Answer(*entry);
}

control::Lease ImageSponsor::Answer(const Entry& entry) {
  control::Lease lease;
  lease.key = entry.key;
  lease.slots = entry.image->SlotCount();
  lease.page_size = entry.image->PageSize();
  lease.slab_size = Bytes(std::uint64_t{lease.slots} * lease.page_size.value());
  lease.time_to_live = kLife;
  return lease;
}

Result<ImageSponsor::EntryPtr> ImageSponsor::Find(LeaseId id) const {
  const auto found = images_.find(id);
  if (found == images_.end()) return Unknown(id);
  return found->second;
}

Result<ImageSponsor::EntryPtr> ImageSponsor::Check(const control::LeaseKey& key, bool check_epoch) const {
  HECA_ASSIGN_OR_RETURN(EntryPtr entry, Find(key.id));
  if (!SameSecret(key.secret, entry->key.secret)) {
    return Status(ErrorCode::kPermissionDenied, "wrong secret for an image", ErrorScope::kReplica);
  }
  if (check_epoch && key.epoch != entry->key.epoch) {
    return Status(ErrorCode::kPermissionDenied,
                  fmt::format("the image is at epoch {}, the caller at {}: another hecad has taken it over",
                              entry->key.epoch.value(), key.epoch.value()),
                  ErrorScope::kReplica);
  }
  return entry;
}

Status ImageSponsor::OpenImage(LeaseId id) {
  const std::lock_guard lock(mutex_);
  HECA_ASSIGN_OR_RETURN(const EntryPtr entry, Find(id));
  entry->image->Open();
  return {};
}

void ImageSponsor::Withdraw(LeaseId id) {
  EntryPtr entry;  // unmapped without the lock
  const std::lock_guard lock(mutex_);
  const auto found = images_.find(id);
  if (found == images_.end()) return;
  entry = std::move(found->second);
  images_.erase(found);
  entry->image->Close();
  entry->views->Close();
  tokens_.Forget(id);
}

Result<bool> ImageSponsor::GivenBack(LeaseId id) const {
  const std::lock_guard lock(mutex_);
  HECA_ASSIGN_OR_RETURN(const EntryPtr entry, Find(id));
  return entry->given_back;
}

std::vector<control::LeaseInfo> ImageSponsor::List() const {
  const std::lock_guard lock(mutex_);
  std::vector<control::LeaseInfo> infos;
  for (const auto& [id, entry] : images_) {
    control::LeaseInfo info;
    info.id = id;
    info.epoch = entry->key.epoch;
    info.state = control::LeaseState::kActive;
    info.owner_node = "(a VM that left)";
    info.region = entry->region;
    info.page_size = entry->image->PageSize();
    const RamImage::Progress progress = entry->image->progress();
    info.reserved = Bytes(progress.pages * info.page_size.value());
    info.written = Bytes((progress.pages - progress.released) * info.page_size.value());
    infos.push_back(std::move(info));
  }
  return infos;
}

std::vector<LeaseId> ImageSponsor::Sweep() {
  std::vector<LeaseId> ids;
  std::vector<EntryPtr> gone;  // unmapped without the lock
  const std::lock_guard lock(mutex_);
  std::erase_if(images_, [&](const auto& image) {
    if (!image.second->given_back) return false;
    ids.push_back(image.first);
    gone.push_back(image.second);
    return true;
  });
  return ids;
}

Result<std::vector<RamImage::Run>> ImageSponsor::Holes(const control::LeaseKey& key) const {
  std::shared_ptr<RamImage> image;
  {
    const std::lock_guard lock(mutex_);
    HECA_ASSIGN_OR_RETURN(const EntryPtr entry, Check(key));
    image = entry->image;
  }
  return image->Holes();
}

Result<control::SponsorInfo> ImageSponsor::Describe() {
  return Status(ErrorCode::kUnsupported, "images of VMs are offered, not asked for", ErrorScope::kNode);
}

Result<control::Lease> ImageSponsor::Reserve(const control::ReserveRequest&) { return Describe().status(); }

Result<control::Lease> ImageSponsor::Extend(const control::LeaseKey&, std::uint32_t) { return Describe().status(); }

Result<control::Lease> ImageSponsor::Renew(const control::LeaseKey& key, const std::string&) {
  const std::lock_guard lock(mutex_);
  HECA_ASSIGN_OR_RETURN(const EntryPtr entry, Check(key));
  return Answer(*entry);
}

Result<control::Lease> ImageSponsor::TakeOver(const control::TakeOverRequest& request) {
  std::shared_ptr<ViewBoard> views;
  control::Lease answer;
  {
    const std::lock_guard lock(mutex_);
    HECA_ASSIGN_OR_RETURN(const EntryPtr entry, Check(request.key, false));
    const bool again = entry->key.epoch == request.to && SameSecret(entry->claim, request.claim);
    if (!again && (entry->key.epoch != request.key.epoch || request.to <= request.key.epoch)) {
      return Status(ErrorCode::kPermissionDenied,
                    fmt::format("the image is at epoch {}: it cannot be taken over from {} to {}",
                                entry->key.epoch.value(), request.key.epoch.value(), request.to.value()),
                    ErrorScope::kReplica);
    }
    control::LeaseKey key = entry->key;
    key.epoch = request.to;
    if (journal_ && !again) HECA_RETURN_IF_ERROR(journal_({key, request.claim}));
    entry->key = key;
    entry->claim = request.claim;
    entry->image->SetEpoch(request.to);
    tokens_.Forget(request.key.id);
    views = entry->views;
    answer = Answer(*entry);
  }
  HECA_RETURN_IF_ERROR(views->EndAll(Deadline::After(kTimes.fence_wait)));
  return answer;
}

Result<control::DataGrant> ImageSponsor::OpenData(const control::LeaseKey& key, Role role, std::uint32_t stream,
                                                  std::uint32_t count) {
  HECA_RETURN_IF_ERROR(CheckStreams(role, count));
  std::shared_ptr<ViewBoard> views;
  std::vector<control::DataEndpoint> endpoints;
  {
    const std::lock_guard lock(mutex_);
    HECA_ASSIGN_OR_RETURN(const EntryPtr entry, Check(key));
    views = entry->views;
    endpoints = endpoints_;
  }
  HECA_ASSIGN_OR_RETURN(control::DataGrant grant,
                        GrantData(tokens_, *views, key, {role, stream}, count, kTimes, Clock::now()));
  grant.endpoints = std::move(endpoints);
  return grant;
}

Status ImageSponsor::Free(const control::LeaseKey& key) {
  const std::lock_guard lock(mutex_);
  HECA_ASSIGN_OR_RETURN(const EntryPtr entry, Check(key));
  entry->given_back = true;
  entry->views->Close();
  tokens_.Forget(key.id);
  return {};
}

Result<std::shared_ptr<transport::SlotMemory>> ImageSponsor::Admit(const transport::Hello& hello) {
  HECA_ASSIGN_OR_RETURN(const auto admission, tokens_.Redeem(hello, Clock::now()));
  std::shared_ptr<ViewBoard> views;
  {
    const std::lock_guard lock(mutex_);
    HECA_ASSIGN_OR_RETURN(const EntryPtr entry, Find(admission.lease));
    views = entry->views;
  }
  return views->Open(admission.name, admission.epoch);
}

}  // namespace heca::store
