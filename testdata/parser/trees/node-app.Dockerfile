FROM node:22-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# Only what runs, not what builds.
RUN npm ci --omit=dev \
 && npm cache clean --force

FROM dependencies AS build
RUN npm ci
COPY . .
RUN npm run build

FROM node:22-bookworm-slim
ENV NODE_ENV=production \
    PORT="3000"
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s \
  CMD node -e "fetch('http://localhost:' + process.env.PORT).catch(() => process.exit(1))"
STOPSIGNAL SIGTERM
VOLUME ["/app/data"]
CMD ["node", "dist/main.js"]
