# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["powershell", "-NoProfile", "-Command", "$ErrorActionPreference = 'Stop';"]
WORKDIR C:\tools
COPY bin\ C:\tools\bin\
RUN Invoke-WebRequest -Uri https://example.com/a.zip -OutFile C:\a.zip; `
    Expand-Archive C:\a.zip -DestinationPath C:\tools; `
    Remove-Item C:\a.zip
ENV TOOLS="C:\tools;C:\more tools"
