// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/lease_json.h"

#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>

namespace heca::node {

using nlohmann::json;

namespace {

std::string ToHex(const control::Secret& secret) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte b : secret) {
    text.push_back(kDigits[std::to_integer<std::size_t>(b >> 4)]);
    text.push_back(kDigits[std::to_integer<std::size_t>(b & std::byte{15})]);
  }
  return text;
}

control::Secret FromHex(const std::string& text) {
  control::Secret secret{};
  if (text.size() != 2 * secret.size()) throw json::other_error::create(501, "secret has a wrong length", nullptr);
  for (std::size_t i = 0; i < secret.size(); ++i) {
    unsigned value = 0;
    const char* begin = text.data() + 2 * i;
    if (std::from_chars(begin, begin + 2, value, 16).ptr != begin + 2) {
      throw json::other_error::create(501, "secret is not hexadecimal", nullptr);
    }
    secret[i] = static_cast<std::byte>(value);
  }
  return secret;
}

}  // namespace

json LeaseToJson(const LeaseRecord& record) {
  return json{{"sponsor", record.sponsor},
              {"address", record.address},
              {"id", record.lease.key.id.value()},
              {"epoch", record.lease.key.epoch.value()},
              {"secret", ToHex(record.lease.key.secret)},
              {"claim", ToHex(record.claim)},
              {"slots", record.lease.slots},
              {"page_size", record.lease.page_size.value()},
              {"slab_size", record.lease.slab_size.value()},
              {"time_to_live_ms", record.lease.time_to_live.count()}};
}

LeaseRecord LeaseFromJson(const json& from) {
  LeaseRecord record;
  record.sponsor = from.at("sponsor");
  record.address = from.at("address");
  record.lease.key.id = LeaseId(from.at("id").get<std::uint64_t>());
  record.lease.key.epoch = Epoch(from.at("epoch").get<std::uint64_t>());
  record.lease.key.secret = FromHex(from.at("secret"));
  record.claim = FromHex(from.at("claim"));
  record.lease.slots = from.at("slots");
  record.lease.page_size = Bytes(from.at("page_size").get<std::uint64_t>());
  record.lease.slab_size = Bytes(from.at("slab_size").get<std::uint64_t>());
  record.lease.time_to_live = Millis(from.at("time_to_live_ms").get<Millis::rep>());
  return record;
}

}  // namespace heca::node
