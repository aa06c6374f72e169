// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/status_map.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace heca::control {
namespace {

TEST(StatusMap, EveryErrorOfEveryScopeComesBackAsItWas) {
  for (int code = 1; code <= static_cast<int>(ErrorCode::kInternal); ++code) {
    for (int scope = 0; scope <= static_cast<int>(ErrorScope::kNode); ++scope) {
      const Status sent(static_cast<ErrorCode>(code), "text " + std::to_string(code), static_cast<ErrorScope>(scope),
                        code % 2 == 0 ? EPERM : 0);
      const grpc::Status carried = ToGrpc(sent);
      ASSERT_FALSE(carried.ok());
      const Status back = FromGrpc(carried, "peer");
      EXPECT_EQ(back.code(), sent.code());
      EXPECT_EQ(back.scope(), sent.scope());
      EXPECT_EQ(back.sys_errno(), sent.sys_errno());
      EXPECT_EQ(back.message(), sent.message());
      EXPECT_EQ(back.retryable(), sent.retryable());
    }
  }
  EXPECT_TRUE(ToGrpc(Status()).ok());
  EXPECT_TRUE(FromGrpc(grpc::Status::OK, "peer").ok());
}

TEST(StatusMap, ErrorsOfGrpcItselfNameThePeer) {
  const Status gone = FromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "connection refused"), "sponsor m1");
  EXPECT_EQ(gone.code(), ErrorCode::kUnavailable);
  EXPECT_EQ(gone.scope(), ErrorScope::kConnection);
  EXPECT_EQ(gone.message(), "sponsor m1 is not reachable (connection refused)");
  const Status old = FromGrpc(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, ""), "sponsor m1");
  EXPECT_EQ(old.code(), ErrorCode::kUnsupported);
  // Every code of gRPC means something here, and none means success.
  for (int code = 1; code <= 16; ++code) {
    EXPECT_NE(FromGrpc(grpc::Status(static_cast<grpc::StatusCode>(code), "x"), "p").code(), ErrorCode::kOk) << code;
  }
}

TEST(StatusMap, GarbageInTheDetailsIsNoDetail) {
  const Status status = FromGrpc(grpc::Status(grpc::StatusCode::NOT_FOUND, "x", "\xff\xfe garbage"), "peer");
  EXPECT_EQ(status.code(), ErrorCode::kNotFound);
}

TEST(StatusMap, LongTextIsCutAndStillValid) {
  std::string text;
  while (text.size() < 5000) text += "\u00e9";
  const grpc::Status carried = ToGrpc(Status(ErrorCode::kInternal, text));
  EXPECT_LE(carried.error_message().size(), 1024U + 3);
  EXPECT_EQ(Utf8(carried.error_message()), carried.error_message());
  EXPECT_EQ(FromGrpc(carried, "peer").code(), ErrorCode::kInternal);
}

TEST(Utf8, KeepsWhatIsValidAndReplacesTheRest) {
  EXPECT_EQ(Utf8("plain \u00e9\u20ac\U0001F600"), "plain \u00e9\u20ac\U0001F600");
  EXPECT_EQ(Utf8("a\xff" "b"), "a?b");
  EXPECT_EQ(Utf8("cut \xe2\x82"), "cut ??");
  EXPECT_EQ(Utf8("overlong \xc0\x80"), "overlong ??");
  EXPECT_EQ(Utf8("surrogate \xed\xa0\x80"), "surrogate ???");
  EXPECT_EQ(Utf8("too large \xf5\x80\x80\x80"), "too large ????");
}

}  // namespace
}  // namespace heca::control
