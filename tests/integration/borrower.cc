// SPDX-License-Identifier: LGPL-2.1-or-later
// A borrower that plays by the rules of the control plane and hands its tokens to a test that does not play by those of
// the data plane:  borrower HOST:PORT SLOTS
//
// Prints   lease ID EPOCH
// Reads    urgent FIRST COUNT | bulk FIRST COUNT    answered by a line of COUNT tokens in hexadecimal, for the
//                                                   connections FIRST, FIRST + 1, ...
// Ends with its input, and gives the lease back.
#include <fmt/format.h>

#include <iostream>
#include <string>

#include "control/sponsor_client.h"

namespace {

using namespace heca;

int Fail(const Status& status) {
  fmt::print(stderr, "borrower: {}\n", status.ToString());
  return 1;
}

std::string Hex(const control::Token& token) {
  std::string text;
  for (const std::byte byte : token) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return Fail(Status(ErrorCode::kInvalidArgument, "usage: borrower HOST:PORT SLOTS"));
  control::SponsorClientOptions options;
  options.endpoint = argv[1];
  auto client = control::SponsorClient::Create(options);
  if (!client.ok()) return Fail(client.status());
  const auto lease = (*client)->Reserve({"borrower", "boot", "hostile", kBasePage,
                                         static_cast<std::uint32_t>(std::stoul(argv[2]))});
  if (!lease.ok()) return Fail(lease.status());
  fmt::print("lease {} {}\n", lease->key.id.value(), lease->key.epoch.value());
  std::fflush(stdout);
  std::string role;
  for (std::uint32_t first = 0, count = 0; std::cin >> role >> first >> count;) {
    // A long test outlives its lease otherwise.
    if (const auto renewed = (*client)->Renew(lease->key, "boot"); !renewed.ok()) return Fail(renewed.status());
    const auto grant = (*client)->OpenData(lease->key, role == "urgent" ? Role::kUrgent : Role::kBulk, first, count);
    if (!grant.ok()) return Fail(grant.status());
    std::string line;
    for (const auto& token : grant->tokens) line += (line.empty() ? "" : " ") + Hex(token);
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }
  const Status freed = (*client)->Free(lease->key);
  return freed.ok() ? 0 : Fail(freed);
}
