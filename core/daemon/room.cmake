find_package(tomlplusplus REQUIRED)
find_package(prometheus-cpp REQUIRED CONFIG)
target_link_libraries(heca_daemon PRIVATE tomlplusplus::tomlplusplus PUBLIC prometheus-cpp::pull)

# hecad needs a node to serve.
if(TARGET heca_node)
  add_executable(hecad ${HECA_CORE}/daemon/main.cc)
  target_include_directories(hecad PRIVATE ${CMAKE_BINARY_DIR}/include-roots/daemon)
  target_compile_options(hecad PRIVATE ${HECA_WARNINGS})
  target_link_libraries(hecad PRIVATE heca_daemon)
  install(TARGETS hecad RUNTIME DESTINATION sbin)
endif()
