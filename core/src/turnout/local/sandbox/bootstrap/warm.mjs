// Importing this makes the loader of ES modules ready before the first job needs it.
export default null;
