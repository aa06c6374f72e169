// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include "transport/channel.h"

namespace heca::transport {
namespace {

TEST(Endpoint, ParsesWhatItPrints) {
  for (const char* const text : {"10.1.0.3:7300", "[::1]:7300", "[fe80::1%eth0]:1", "memory-1.example.org:65535", "m1:0"}) {
    const auto endpoint = Endpoint::Parse(text);
    ASSERT_TRUE(endpoint.ok()) << endpoint.status().ToString();
    EXPECT_EQ(endpoint->ToString(), text);
  }
  EXPECT_EQ(Endpoint::Parse("[::1]:7300")->host, "::1");
  EXPECT_EQ(Endpoint::Parse("[::1]:7300")->port, 7300);
}

TEST(Endpoint, RefusesTheRestAndSaysWhatToWrite) {
  for (const char* const text : {"", ":", "host", "host:", ":7300", "host:65536", "host:-1", "host:7x", "host:+7", "::1:7300",
                                 "[::1]", "[]:1", "[host]:1", "[::1:7300", "ho st:1", "host\n:1", "a]b:1"}) {
    const auto endpoint = Endpoint::Parse(text);
    EXPECT_EQ(endpoint.status().code(), ErrorCode::kInvalidArgument) << text;
    EXPECT_NE(endpoint.status().message().find("HOST:PORT"), std::string::npos) << text;
  }
  EXPECT_FALSE(Endpoint::Parse(std::string(300, 'a').append(":1")).ok());
}

}  // namespace
}  // namespace heca::transport
