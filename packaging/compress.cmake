# Run by CPack over what it is about to pack: Debian's manual pages and changelogs are compressed, without a time stamp so that the
# same sources give the same package.
file(GLOB_RECURSE pages "${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr/share/man/*.[1-8]")
if(pages)
  execute_process(COMMAND gzip --best --no-name ${pages} COMMAND_ERROR_IS_FATAL ANY)
endif()
