// Run once before the first real job, so that the loader of ES modules and everything else is ready for it.
export default ({ text }) => ({ text });
