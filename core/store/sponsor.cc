// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/sponsor.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/fail_points.h"
#include "base/log.h"
#include "base/size.h"
#include "store/data_grant.h"
#include "store/random.h"

namespace heca::store {

/// One lease. Its lock covers the control path only.
struct Sponsor::Entry {
  std::mutex mutex;
  LeaseRecord record;
  std::shared_ptr<LeaseMemory> memory;  ///< shared with the views of data connections; null once freed
  std::shared_ptr<ViewBoard> views;     ///< set once: Admit reads it without the lock
  Clock::time_point expires;
  bool quarantined = false;
  bool host_rebooted = false;
  bool freed = false;
};

struct Sponsor::Locked {
  EntryPtr entry;
  std::unique_lock<std::mutex> lock;
  Entry* operator->() const { return entry.get(); }
  Entry& operator*() const { return *entry; }
};

namespace {

constexpr std::size_t kMaxNameLength = 255;

// Names come from peers and go into line-based records and logs.
Status CheckName(std::string_view what, std::string_view name, bool may_be_empty) {
  const bool printable = std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (printable && name.size() <= kMaxNameLength && (may_be_empty || !name.empty())) return {};
  return Status(ErrorCode::kInvalidArgument,
                fmt::format("{} must be 1 to {} printable characters without spaces", what, kMaxNameLength));
}

Status UnknownLease(LeaseId id) {
  return Status(ErrorCode::kNotFound, fmt::format("lease {} is not known here", id.value()), ErrorScope::kReplica);
}

}  // namespace

Result<std::unique_ptr<Sponsor>> Sponsor::Create(SponsorOptions options, LeaseObserver* observer) {
  const auto slab = options.slab_size.value();
  if (slab < kBasePage.value() || slab % kBasePage.value() != 0) {
    return Status(ErrorCode::kInvalidArgument,
                  fmt::format("slab size {} is not a multiple of 4KiB", FormatSizeExact(options.slab_size)));
  }
  HECA_RETURN_IF_ERROR(CheckName("the node's name", options.node, false));
  HECA_ASSIGN_OR_RETURN(auto directory, StoreDirectory::Open(options.directory, options.boot_id));
  std::unique_ptr<Sponsor> sponsor(new Sponsor(std::move(options), observer, std::move(directory)));
  for (auto& stored : sponsor->directory_.Recover()) sponsor->TakeBack(std::move(stored));
  return sponsor;
}

Sponsor::Sponsor(SponsorOptions options, LeaseObserver* observer, StoreDirectory directory)
    : options_(std::move(options)),
      observer_(observer),
      directory_(std::move(directory)),
      quota_(Quota::Create(options_.donated)) {}

Sponsor::~Sponsor() = default;

void Sponsor::TakeBack(StoredLease stored) {
  auto charge = quota_->TakeAnyway(stored.record.Reserved());
  Log().info("lease {} of {} taken back, {}", stored.record.id.value(), stored.record.owner_node,
             FormatSize(stored.record.Reserved()));
  Adopt(std::move(stored.record), std::move(stored.slabs), std::move(charge));
}

Sponsor::EntryPtr Sponsor::Adopt(LeaseRecord record, std::vector<Slab> slabs, QuotaCharge charge) {
  auto entry = std::make_shared<Entry>();
  const std::size_t donated_slabs = options_.donated.value() / record.shape.payload.value();
  entry->memory = std::make_shared<LeaseMemory>(record.id, record.epoch, record.shape, record.backing,
                                                std::max(donated_slabs, record.slabs));
  entry->memory->Append(std::move(slabs), std::move(charge));
  entry->views = std::make_shared<ViewBoard>(entry->memory);
  entry->expires = options_.now() + options_.lease_life;
  entry->record = std::move(record);
  const std::lock_guard lock(mutex_);
  leases_.emplace(entry->record.id, entry);
  return entry;
}

void Sponsor::SetEndpoints(std::vector<control::DataEndpoint> endpoints) {
  const std::lock_guard lock(mutex_);
  endpoints_ = std::move(endpoints);
}

Sponsor::EntryPtr Sponsor::Find(LeaseId id) {
  const std::lock_guard lock(mutex_);
  const auto found = leases_.find(id);
  return found == leases_.end() ? nullptr : found->second;
}

std::vector<Sponsor::EntryPtr> Sponsor::AllEntries() {
  const std::lock_guard lock(mutex_);
  std::vector<EntryPtr> entries;
  entries.reserve(leases_.size());
  for (const auto& [id, entry] : leases_) entries.push_back(entry);
  return entries;
}

Result<Sponsor::Locked> Sponsor::Lock(const control::LeaseKey& key, bool check_epoch) {
  Locked locked{Find(key.id), {}};
  if (!locked.entry) return UnknownLease(key.id);
  locked.lock = std::unique_lock(locked->mutex);
  if (locked->freed) return UnknownLease(key.id);
  if (!SameSecret(key.secret, locked->record.secret)) {
    return Status(ErrorCode::kPermissionDenied, fmt::format("wrong secret for lease {}", key.id.value()),
                  ErrorScope::kReplica);
  }
  if (check_epoch && key.epoch != locked->record.epoch) {
    return Status(ErrorCode::kPermissionDenied,
                  fmt::format("lease {} is at epoch {}, the caller at {}: another hecad has taken it over",
                              key.id.value(), locked->record.epoch.value(), key.epoch.value()),
                  ErrorScope::kReplica);
  }
  return locked;
}

Result<SlabShape> Sponsor::ShapeFor(Bytes page_size) const {
  const SlabShape shape{options_.slab_size, page_size};
  const bool known = page_size == kBasePage || page_size == kHugePage;
  if (known && shape.payload.value() % page_size.value() == 0) return shape;
  return Status(ErrorCode::kInvalidArgument,
                fmt::format("pages of {} bytes cannot be lent from slabs of {}", page_size.value(),
                            FormatSizeExact(options_.slab_size)));
}

control::Lease Sponsor::Answer(const Entry& entry) const {
  const auto left = std::chrono::duration_cast<Millis>(entry.expires - options_.now());
  return {entry.record.Key(), entry.memory->SlotCount(), entry.record.shape.page_size, entry.record.shape.payload,
          std::max(left, Millis(0))};
}

control::LeaseInfo Sponsor::Info(const Entry& entry) const {
  control::LeaseInfo info;
  info.id = entry.record.id;
  info.epoch = entry.record.epoch;
  info.state = entry.quarantined ? control::LeaseState::kQuarantined : control::LeaseState::kActive;
  info.owner_node = entry.record.owner_node;
  info.owner_boot_id = entry.record.owner_boot_id;
  info.region = entry.record.region;
  info.page_size = entry.record.shape.page_size;
  info.reserved = entry.record.Reserved();
  info.written = Bytes(entry.memory->CountWritten() * entry.record.shape.page_size.value());
  const auto left = std::chrono::duration_cast<Millis>(entry.expires - options_.now());
  info.time_to_live = entry.quarantined ? Millis(0) : std::max(left, Millis(0));
  return info;
}

void Sponsor::Tell(LeaseEvent event, const Entry& entry, std::string_view why) const {
  if (observer_ != nullptr) observer_->OnLease(event, Info(entry), why);
}

Result<control::SponsorInfo> Sponsor::Describe() {
  Sweep();
  control::SponsorInfo info;
  info.node = options_.node;
  info.boot_id = options_.boot_id;
  info.protocol_version = control::kProtocolVersion;
  info.oldest_protocol_version = control::kOldestProtocolVersion;
  for (const Bytes page : {kBasePage, kHugePage}) {
    if (ShapeFor(page).ok()) info.page_sizes.push_back(page);
  }
  std::uint64_t quarantined = 0;
  for (const auto& entry : AllEntries()) {
    const std::lock_guard lock(entry->mutex);
    if (entry->quarantined && !entry->freed) quarantined += entry->record.Reserved().value();
  }
  const std::uint64_t scrubbing = Scrubbing().value();
  const std::uint64_t taken = quota_->Taken().value();
  info.donated = options_.donated;
  info.quarantined = Bytes(quarantined);
  info.scrubbing = Bytes(scrubbing);
  info.lent = Bytes(taken - std::min(taken, quarantined + scrubbing));
  info.free = Bytes(options_.donated.value() - std::min(options_.donated.value(), taken));
  const std::lock_guard lock(mutex_);
  info.endpoints = endpoints_;
  return info;
}

Bytes Sponsor::Scrubbing() {
  const std::lock_guard lock(mutex_);
  std::erase_if(freed_, [](const auto& item) { return item.first.expired(); });
  std::uint64_t bytes = 0;
  for (const auto& item : freed_) bytes += item.second.value();
  return Bytes(bytes);
}

Result<control::Lease> Sponsor::Reserve(const control::ReserveRequest& request) {
  HECA_RETURN_IF_ERROR(CheckName("owner_node", request.owner_node, false));
  HECA_RETURN_IF_ERROR(CheckName("owner_boot_id", request.owner_boot_id, false));
  HECA_RETURN_IF_ERROR(CheckName("region", request.region, true));
  HECA_ASSIGN_OR_RETURN(const auto shape, ShapeFor(request.page_size));
  AnnounceBoot(request.owner_node, request.owner_boot_id);
  Sweep();
  LeaseRecord record;
  record.shape = shape;
  record.slabs = (std::uint64_t{request.slots} + shape.Slots() - 1) / shape.Slots();
  if (request.slots == 0 || record.slabs > UINT32_MAX / shape.Slots()) {
    return Status(ErrorCode::kInvalidArgument, fmt::format("{} slots cannot be reserved", request.slots));
  }
  HECA_ASSIGN_OR_RETURN(auto charge, quota_->Take(record.Reserved()));
  do {
    record.id = RandomLeaseId();
  } while (Find(record.id));
  record.epoch = Epoch(1);
  record.secret = RandomSecret();
  record.owner_node = request.owner_node;
  record.owner_boot_id = request.owner_boot_id;
  record.region = request.region;
  record.backing = options_.backing;
  HECA_ASSIGN_OR_RETURN(auto slabs, directory_.Create(record));
  const auto entry = Adopt(std::move(record), std::move(slabs), std::move(charge));
  const std::lock_guard lock(entry->mutex);
  if (entry->freed) return UnknownLease(entry->record.id);
  Tell(LeaseEvent::kGranted, *entry, "reserved");
  return Answer(*entry);
}

Result<control::Lease> Sponsor::Extend(const control::LeaseKey& key, std::uint32_t more) {
  Sweep();
  HECA_ASSIGN_OR_RETURN(auto entry, Lock(key));
  LeaseRecord record = entry->record;
  const std::uint64_t slots = record.shape.Slots();
  const std::uint64_t slabs = (more + slots - 1) / slots;
  if (more == 0 || record.slabs + slabs > UINT32_MAX / slots) {
    return Status(ErrorCode::kInvalidArgument, fmt::format("{} slots cannot be added", more));
  }
  HECA_ASSIGN_OR_RETURN(auto charge, quota_->Take(Bytes(slabs * record.shape.payload.value())));
  record.slabs += slabs;
  HECA_ASSIGN_OR_RETURN(auto made, directory_.Extend(record, slabs));
  entry->record = std::move(record);
  entry->memory->Append(std::move(made), std::move(charge));
  Revive(*entry);
  return Answer(*entry);
}

void Sponsor::Revive(Entry& entry) {
  const bool was_quarantined = std::exchange(entry.quarantined, false);
  entry.host_rebooted = false;
  entry.expires = options_.now() + options_.lease_life;
  if (was_quarantined) Tell(LeaseEvent::kRevived, entry, "renewed by its owner");
}

Result<control::Lease> Sponsor::Renew(const control::LeaseKey& key, const std::string& owner_boot_id) {
  {
    HECA_ASSIGN_OR_RETURN(auto entry, Lock(key));
    if (owner_boot_id == entry->record.owner_boot_id) {
      Revive(*entry);
      return Answer(*entry);
    }
  }
  return Status(ErrorCode::kFailedPrecondition,
                "the lease belongs to another boot of this host, whose VMs are gone: free it", ErrorScope::kReplica);
}

Result<control::Lease> Sponsor::TakeOver(const control::TakeOverRequest& request) {
  HECA_RETURN_IF_ERROR(CheckName("owner_node", request.owner_node, false));
  HECA_RETURN_IF_ERROR(CheckName("owner_boot_id", request.owner_boot_id, false));
  HECA_ASSIGN_OR_RETURN(auto entry, Lock(request.key, false));
  const LeaseRecord& now = entry->record;
  const bool repeated = now.epoch == request.to && SameSecret(now.claim, request.claim);
  if (!repeated) {
    const bool from_here = now.epoch == request.key.epoch || (request.back && now.epoch > request.key.epoch);
    if (!from_here || request.to <= now.epoch) {
      return Status(ErrorCode::kPermissionDenied,
                    fmt::format("lease {} is at epoch {}; it cannot be taken over from epoch {} to {}",
                                now.id.value(), now.epoch.value(), request.key.epoch.value(), request.to.value()),
                    ErrorScope::kReplica);
    }
    LeaseRecord record = now;
    record.epoch = request.to;
    record.claim = request.claim;
    record.owner_node = request.owner_node;
    record.owner_boot_id = request.owner_boot_id;
    HECA_RETURN_IF_ERROR(directory_.Update(record));
    entry->record = std::move(record);
    entry->memory->SetEpoch(request.to);
    tokens_.Forget(request.key.id);
  }
  Revive(*entry);
  const control::Lease answer = Answer(*entry);
  entry.lock.unlock();
  // The old epoch can start nothing any more; what it had started is over when its views are gone. A caller that
  // repeats its claim has lost the answer, so views of the new epoch are those of its former life.
  HECA_RETURN_IF_ERROR(entry->views->EndAll(Deadline::After(options_.fence_wait)));
  return answer;
}

Result<control::DataGrant> Sponsor::OpenData(const control::LeaseKey& key, Role role, std::uint32_t stream,
                                             std::uint32_t count) {
  HECA_RETURN_IF_ERROR(CheckStreams(role, count));
  (void)FailPointHit(FailPoint::kCrashAtOpenData);
  Sweep();
  HECA_ASSIGN_OR_RETURN(auto entry, Lock(key));
  if (entry->quarantined) {
    return Status(ErrorCode::kFailedPrecondition,
                  fmt::format("lease {} ran out and is quarantined: renew it first", key.id.value()),
                  ErrorScope::kReplica);
  }
  if (!entry->record.opened) {
    LeaseRecord record = entry->record;
    record.opened = true;
    HECA_RETURN_IF_ERROR(directory_.Update(record));
    entry->record = std::move(record);
  }
  entry.lock.unlock();  // what follows can wait; if the lease ends meanwhile, its views refuse the tokens
  HECA_ASSIGN_OR_RETURN(control::DataGrant grant,
                        GrantData(tokens_, *entry->views, key, {role, stream}, count,
                                  {options_.token_life, options_.fence_wait}, options_.now()));
  const std::lock_guard lock(mutex_);
  grant.endpoints = endpoints_;
  return grant;
}

Status Sponsor::Free(const control::LeaseKey& key) {
  HECA_ASSIGN_OR_RETURN(auto entry, Lock(key));
  return FreeLocked(*entry, "given back by its owner");
}

Status Sponsor::FreeLocked(Entry& entry, std::string_view why) {
  const LeaseId id = entry.record.id;
  HECA_RETURN_IF_ERROR(directory_.Remove(id));
  Tell(LeaseEvent::kFreed, entry, why);
  entry.freed = true;
  entry.views->Close();
  tokens_.Forget(id);
  {
    const std::lock_guard lock(mutex_);
    freed_.emplace_back(entry.memory, entry.record.Reserved());
    leases_.erase(id);
  }
  entry.memory.reset();  // unmaps and gives the quota back, unless a connection still sends from it
  return {};
}

Result<std::shared_ptr<transport::SlotMemory>> Sponsor::Admit(const transport::Hello& hello) {
  HECA_ASSIGN_OR_RETURN(const auto admission, tokens_.Redeem(hello, options_.now()));
  const auto entry = Find(admission.lease);
  if (!entry) return UnknownLease(admission.lease);
  return entry->views->Open(admission.name, admission.epoch);
}

void Sponsor::AnnounceBoot(const std::string& node, const std::string& boot_id) {
  for (const auto& entry : AllEntries()) {
    const std::lock_guard lock(entry->mutex);
    if (entry->record.owner_node == node && entry->record.owner_boot_id != boot_id) entry->host_rebooted = true;
  }
}

void Sponsor::Sweep() {
  const auto now = options_.now();
  for (const auto& entry : AllEntries()) {
    const std::lock_guard lock(entry->mutex);
    if (entry->freed) continue;
    if (!entry->quarantined && entry->expires <= now) {
      entry->quarantined = true;
      Tell(LeaseEvent::kQuarantined, *entry, "not renewed in time");
    }
    if (!entry->quarantined || (entry->record.opened && !entry->host_rebooted)) continue;
    const auto status = FreeLocked(*entry, entry->host_rebooted ? "its owner's host has booted again"
                                                                : "nobody ever opened it");
    if (!status.ok()) Log().error("{}", status.ToString());
  }
}

std::vector<control::LeaseInfo> Sponsor::Leases() {
  Sweep();
  std::vector<control::LeaseInfo> infos;
  for (const auto& entry : AllEntries()) {
    const std::lock_guard lock(entry->mutex);
    if (!entry->freed) infos.push_back(Info(*entry));
  }
  return infos;
}

Status Sponsor::ForceFree(LeaseId id, bool force) {
  Sweep();
  const auto entry = Find(id);
  if (!entry) return UnknownLease(id);
  const std::lock_guard lock(entry->mutex);
  if (entry->freed) return UnknownLease(id);
  if (!entry->quarantined && !force) {
    return Status(ErrorCode::kFailedPrecondition,
                  fmt::format("lease {} is in use by {}; what it holds would be lost (force it if that is meant)",
                              id.value(), entry->record.owner_node));
  }
  return FreeLocked(*entry, "freed by the operator");
}

}  // namespace heca::store
