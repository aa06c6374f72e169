// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/convert_sponsor.h"

#include <bit>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "control/checks.h"
#include "control/status_map.h"

namespace heca::control {
namespace {

// A peer's spans beyond ten years are nonsense, and would overflow once added to a clock.
constexpr std::uint64_t kMaxSpanMs = 10ULL * 365 * 24 * 3600 * 1000;

std::string BytesOf(const Secret& secret) {
  std::string bytes(secret.size(), '\0');
  std::memcpy(bytes.data(), secret.data(), secret.size());
  return bytes;
}

Status Invalid(std::string text) { return Status(ErrorCode::kInvalidArgument, std::move(text)); }

Result<Secret> SecretFrom(std::string_view what, const std::string& bytes) {
  Secret secret{};
  if (bytes.size() != secret.size()) {
    return Invalid(std::string(what) + " has " + std::to_string(bytes.size()) + " bytes instead of 16");
  }
  std::memcpy(secret.data(), bytes.data(), secret.size());
  return secret;
}

Result<Bytes> PageSizeFrom(std::uint64_t bytes) {
  if (!std::has_single_bit(bytes) || bytes < kBasePage.value() || bytes > (1ULL << 30)) {
    return Invalid("page size " + std::to_string(bytes) + ": must be a power of two from 4096 to 1 GiB");
  }
  return Bytes(bytes);
}

Result<Millis> SpanFrom(std::uint64_t ms) {
  if (ms > kMaxSpanMs) return Invalid("a time of " + std::to_string(ms) + " ms is out of range");
  return Millis(static_cast<Millis::rep>(ms));
}

std::uint64_t MsOf(Millis span) { return span.count() < 0 ? 0 : static_cast<std::uint64_t>(span.count()); }

void ToMessage(const DataEndpoint& from, v1::DataEndpoint& to) {
  to.set_transport(Utf8(from.transport));
  to.set_address(Utf8(from.address));
}

Result<DataEndpoint> FromMessage(const v1::DataEndpoint& from) {
  HECA_RETURN_IF_ERROR(CheckName("transport", from.transport(), false));
  HECA_RETURN_IF_ERROR(CheckName("data address", from.address(), false));
  return DataEndpoint{from.transport(), from.address()};
}

}  // namespace

void ToMessage(const SponsorInfo& from, v1::SponsorInfo& to) {
  to.set_node(Utf8(from.node));
  to.set_boot_id(Utf8(from.boot_id));
  to.set_protocol_version(from.protocol_version);
  to.set_oldest_protocol_version(from.oldest_protocol_version);
  for (const Bytes size : from.page_sizes) to.add_page_sizes(size.value());
  to.set_donated_bytes(from.donated.value());
  to.set_lent_bytes(from.lent.value());
  to.set_quarantined_bytes(from.quarantined.value());
  to.set_scrubbing_bytes(from.scrubbing.value());
  to.set_free_bytes(from.free.value());
  for (const DataEndpoint& endpoint : from.endpoints) ToMessage(endpoint, *to.add_endpoints());
}

void ToMessage(const ReserveRequest& from, v1::ReserveRequest& to) {
  to.set_owner_node(Utf8(from.owner_node));
  to.set_owner_boot_id(Utf8(from.owner_boot_id));
  to.set_region(Utf8(from.region));
  to.set_page_size(from.page_size.value());
  to.set_slots(from.slots);
}

void ToMessage(const LeaseKey& from, v1::LeaseKey& to) {
  to.set_id(from.id.value());
  to.set_epoch(from.epoch.value());
  to.set_secret(BytesOf(from.secret));
}

void ToMessage(const Lease& from, v1::Lease& to) {
  ToMessage(from.key, *to.mutable_key());
  to.set_slots(from.slots);
  to.set_page_size(from.page_size.value());
  to.set_slab_size(from.slab_size.value());
  to.set_time_to_live_ms(MsOf(from.time_to_live));
}

void ToMessage(const TakeOverRequest& from, v1::TakeOverRequest& to) {
  ToMessage(from.key, *to.mutable_key());
  to.set_to_epoch(from.to.value());
  to.set_claim(BytesOf(from.claim));
  to.set_owner_node(Utf8(from.owner_node));
  to.set_owner_boot_id(Utf8(from.owner_boot_id));
  to.set_back(from.back);
}

void ToMessage(const DataGrant& from, v1::DataGrant& to) {
  for (const Token& token : from.tokens) to.add_tokens(BytesOf(token));
  to.set_time_to_live_ms(MsOf(from.time_to_live));
  for (const DataEndpoint& endpoint : from.endpoints) ToMessage(endpoint, *to.add_endpoints());
}

Result<SponsorInfo> FromMessage(const v1::SponsorInfo& from) {
  HECA_RETURN_IF_ERROR(CheckName("node name", from.node(), false));
  HECA_RETURN_IF_ERROR(CheckName("boot id", from.boot_id(), false));
  SponsorInfo to;
  to.node = from.node();
  to.boot_id = from.boot_id();
  to.protocol_version = from.protocol_version();
  to.oldest_protocol_version = from.oldest_protocol_version();
  for (const std::uint64_t size : from.page_sizes()) {
    HECA_ASSIGN_OR_RETURN(const Bytes page_size, PageSizeFrom(size));
    to.page_sizes.push_back(page_size);
  }
  to.donated = Bytes(from.donated_bytes());
  to.lent = Bytes(from.lent_bytes());
  to.quarantined = Bytes(from.quarantined_bytes());
  to.scrubbing = Bytes(from.scrubbing_bytes());
  to.free = Bytes(from.free_bytes());
  for (const v1::DataEndpoint& endpoint : from.endpoints()) {
    HECA_ASSIGN_OR_RETURN(DataEndpoint checked, FromMessage(endpoint));
    to.endpoints.push_back(std::move(checked));
  }
  return to;
}

Result<ReserveRequest> FromMessage(const v1::ReserveRequest& from) {
  HECA_RETURN_IF_ERROR(CheckName("owner's node name", from.owner_node(), false));
  HECA_RETURN_IF_ERROR(CheckName("owner's boot id", from.owner_boot_id(), false));
  HECA_RETURN_IF_ERROR(CheckName("region", from.region(), true));
  if (from.slots() == 0) return Invalid("a reservation of 0 slots");
  ReserveRequest to;
  to.owner_node = from.owner_node();
  to.owner_boot_id = from.owner_boot_id();
  to.region = from.region();
  HECA_ASSIGN_OR_RETURN(to.page_size, PageSizeFrom(from.page_size()));
  to.slots = from.slots();
  return to;
}

Result<LeaseKey> FromMessage(const v1::LeaseKey& from) {
  if (from.id() == 0 || from.epoch() == 0) return Invalid("a lease key without id or epoch");
  HECA_ASSIGN_OR_RETURN(const Secret secret, SecretFrom("lease secret", from.secret()));
  return LeaseKey{LeaseId(from.id()), Epoch(from.epoch()), secret};
}

Result<Lease> FromMessage(const v1::Lease& from) {
  Lease to;
  HECA_ASSIGN_OR_RETURN(to.key, FromMessage(from.key()));
  if (from.slots() == 0) return Invalid("a lease of 0 slots");
  to.slots = from.slots();
  HECA_ASSIGN_OR_RETURN(to.page_size, PageSizeFrom(from.page_size()));
  to.slab_size = Bytes(from.slab_size());
  HECA_ASSIGN_OR_RETURN(to.time_to_live, SpanFrom(from.time_to_live_ms()));
  return to;
}

Result<TakeOverRequest> FromMessage(const v1::TakeOverRequest& from) {
  TakeOverRequest to;
  HECA_ASSIGN_OR_RETURN(to.key, FromMessage(from.key()));
  if (from.to_epoch() <= from.key().epoch()) {
    return Invalid("take-over from epoch " + std::to_string(from.key().epoch()) + " to " +
                   std::to_string(from.to_epoch()) + ": the new epoch must be greater");
  }
  to.to = Epoch(from.to_epoch());
  HECA_ASSIGN_OR_RETURN(to.claim, SecretFrom("claim", from.claim()));
  HECA_RETURN_IF_ERROR(CheckName("owner's node name", from.owner_node(), false));
  HECA_RETURN_IF_ERROR(CheckName("owner's boot id", from.owner_boot_id(), false));
  to.owner_node = from.owner_node();
  to.owner_boot_id = from.owner_boot_id();
  to.back = from.back();
  return to;
}

Result<DataGrant> FromMessage(const v1::DataGrant& from) {
  DataGrant to;
  if (from.tokens_size() > static_cast<int>(kMaxTokens)) return Invalid("a grant of more than 64 tokens");
  for (const std::string& token : from.tokens()) {
    HECA_ASSIGN_OR_RETURN(const Token checked, SecretFrom("token", token));
    to.tokens.push_back(checked);
  }
  HECA_ASSIGN_OR_RETURN(to.time_to_live, SpanFrom(from.time_to_live_ms()));
  for (const v1::DataEndpoint& endpoint : from.endpoints()) {
    HECA_ASSIGN_OR_RETURN(DataEndpoint checked, FromMessage(endpoint));
    to.endpoints.push_back(std::move(checked));
  }
  return to;
}

}  // namespace heca::control
