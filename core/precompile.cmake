# Precompiled headers: the standard headers most files include, and googletest for the tests, parsed once for a build
# instead of once for a file. Only a saving of time: a file still includes what it uses, which a build without them
# (HECA_PCH=OFF, as in the preset release) shows.

option(HECA_PCH "Precompile common headers" ON)

set(HECA_PCH_HEADERS <algorithm> <array> <atomic> <chrono> <cstdint> <filesystem> <functional> <map> <memory> <mutex>
    <optional> <span> <string> <string_view> <thread> <utility> <vector> <fmt/format.h>)

if(HECA_PCH)
  find_package(spdlog REQUIRED)
  find_package(fmt REQUIRED)
  set(nothing ${CMAKE_BINARY_DIR}/precompile.cc)
  file(CONFIGURE OUTPUT ${nothing} CONTENT "int main() { return 0; }\n")
  add_library(heca_pch STATIC ${nothing})
  target_precompile_headers(heca_pch PRIVATE ${HECA_PCH_HEADERS})
  if(HECA_TESTS)
    add_executable(heca_test_pch ${nothing})  # an executable: what -fPIC compiled does not fit -fPIE
    target_precompile_headers(heca_test_pch PRIVATE ${HECA_PCH_HEADERS} <gmock/gmock.h> <gtest/gtest.h>)
  endif()
  foreach(pch heca_pch heca_test_pch)
    if(TARGET ${pch})
      target_compile_options(${pch} PRIVATE ${HECA_WARNINGS} -Winvalid-pch $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
      target_link_libraries(${pch} PRIVATE Threads::Threads spdlog::spdlog fmt::fmt)  # their definitions count
    endif()
  endforeach()
  if(HECA_TESTS)
    find_package(GTest REQUIRED)
    target_link_libraries(heca_test_pch PRIVATE GTest::gmock GTest::gtest)
  endif()
endif()

# heca_precompile(<target> heca_pch|heca_test_pch): the target's files get those headers.
function(heca_precompile target pch)
  if(HECA_PCH)
    target_precompile_headers(${target} REUSE_FROM ${pch})
    target_compile_options(${target} PRIVATE -Winvalid-pch $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
  endif()
endfunction()
