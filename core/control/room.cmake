# The schema in core/proto/heca/v1 becomes heca_proto, generated into the build directory and compiled without our
# warnings. Only this room sees it.
find_package(Protobuf REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(GRPCPP REQUIRED IMPORTED_TARGET grpc++)
find_program(HECA_PROTOC protoc REQUIRED)
find_program(HECA_GRPC_PLUGIN grpc_cpp_plugin REQUIRED)

set(proto_root ${HECA_CORE}/proto)
set(proto_out ${CMAKE_BINARY_DIR}/proto)
file(MAKE_DIRECTORY ${proto_out})
set(proto_sources)
foreach(name error region_stats node sponsor migration)
  set(made ${proto_out}/heca/v1/${name}.pb.cc ${proto_out}/heca/v1/${name}.pb.h)
  set(grpc_arguments)
  if(name MATCHES "^(node|sponsor|migration)$")  # those with a service
    list(APPEND made ${proto_out}/heca/v1/${name}.grpc.pb.cc ${proto_out}/heca/v1/${name}.grpc.pb.h)
    set(grpc_arguments --grpc_out=${proto_out} --plugin=protoc-gen-grpc=${HECA_GRPC_PLUGIN})
  endif()
  add_custom_command(
    OUTPUT ${made}
    COMMAND ${HECA_PROTOC} -I ${proto_root} --cpp_out=${proto_out} ${grpc_arguments} ${proto_root}/heca/v1/${name}.proto
    DEPENDS ${proto_root}/heca/v1/${name}.proto ${proto_root}/heca/v1/region_stats.proto
            ${proto_root}/heca/v1/sponsor.proto
    COMMENT "protoc heca/v1/${name}.proto"
    VERBATIM)
  list(APPEND proto_sources ${made})
endforeach()

add_library(heca_proto STATIC ${proto_sources})
target_include_directories(heca_proto SYSTEM PUBLIC ${proto_out})
target_compile_options(heca_proto PRIVATE -O1 -g0)  # generated, large, never on a hot path: build time decides
target_link_libraries(heca_proto PUBLIC PkgConfig::GRPCPP protobuf::libprotobuf)

if(sources)
  add_dependencies(heca_control heca_proto)
  target_link_libraries(heca_control PRIVATE heca_proto)
  if(HECA_TESTS)
    cmake_language(DEFER CALL target_link_libraries control_test PRIVATE heca_proto)  # made after this file was read
  endif()
endif()
