"""The site manager's page: hand-written HTML, CSS and ES modules, and how they are built.

    static/        what browsers get; static/main.js is where to start reading
    build.py       brings browser code by others (package-lock.json) to static/vendor/ at build time

Knows the API as any other program does. Has no data of the site itself.
"""
